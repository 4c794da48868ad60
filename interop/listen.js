// listen.js URL CLUSTER CLIENT GROUP SUBJECT...: listen with the package's
// Listener until stdin ends. It prints a line of JSON when a subscription
// stands, and one for each event, with what JSON.stringify makes of it.
'use strict'

const { Listener } = require('@ducnguyen96/ticketing-common')
const connect = require('./connect')

const print = line => console.log(JSON.stringify(line))

class PrintingListener extends Listener {
  constructor (client, subject, group) {
    super(client)
    this.subject = subject
    this.queueGroupName = group
  }

  onMessage (data, msg) {
    msg.ack()
    print({ state: 'received', subject: this.subject, data: JSON.stringify(data) })
  }
}

async function main () {
  const [url, clusterID, clientID, group, ...subjects] = process.argv.slice(2)
  const client = await connect(url, clusterID, clientID)

  // The Listener keeps its subscription to itself; this is how to hear of it.
  const subscribe = client.subscribe
  client.subscribe = function (subject, ...args) {
    const subscription = subscribe.call(this, subject, ...args)
    subscription.on('ready', () => print({ state: 'subscribed', subject }))
    return subscription
  }

  for (const subject of subjects) {
    new PrintingListener(client, subject, group).listen()
  }
  process.stdin.on('end', () => client.close()).resume()
}

main().catch(err => {
  console.error(err)
  process.exit(1)
})
