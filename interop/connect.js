// connect(url, clusterID, clientID) is a promise of a connected client. A
// connection that fails or is lost ends the process.
'use strict'

const stan = require('node-nats-streaming')

module.exports = (url, clusterID, clientID) => new Promise(resolve => {
  const fail = err => {
    console.error(err)
    process.exit(1)
  }
  const client = stan.connect(clusterID, clientID, { url })
  client.on('error', fail)
  client.on('connection_lost', fail)
  client.on('connect', () => resolve(client))
})
