// numbers.js N: print N order:created payloads with a random price and time,
// as JavaScript writes them.
'use strict'

const { randomBytes } = require('crypto')

const firstMoment = Date.parse('0000-01-01T00:00:00.000Z')
const lastMoment = Date.parse('9999-12-31T23:59:59.999Z')

// Any double: every exponent is as likely as another.
function price () {
  const value = randomBytes(8).readDoubleLE()
  return Number.isFinite(value) ? value : 1
}

function moment () {
  return new Date(firstMoment + Math.floor(Math.random() * (lastMoment - firstMoment + 1)))
}

for (let version = Number(process.argv[2]); version > 0; version--) {
  console.log(JSON.stringify({
    id: '', status: '', userId: '', expiresAt: moment().toISOString(), ticket: { id: '', price: price(), version }
  }))
}
