// publish.js URL CLUSTER CLIENT: publish the fixtures one after the other with
// the package's Publisher, each when the one before was acknowledged.
'use strict'

const { Publisher } = require('@ducnguyen96/ticketing-common')
const connect = require('./connect')
const fixtures = require('./fixtures')

class FixturePublisher extends Publisher {
  constructor (client, subject) {
    super(client)
    this.subject = subject
  }
}

async function main () {
  const client = await connect(...process.argv.slice(2))
  for (const [subject, data] of fixtures) {
    await new FixturePublisher(client, subject).publish(data)
  }
  client.close()
}

main().catch(err => {
  console.error(err)
  process.exit(1)
})
