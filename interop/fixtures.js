// The events that both sides publish. exchange_test.go has the same, in the
// same order.
'use strict'

const { Subjects, OrderStatus } = require('@ducnguyen96/ticketing-common')

const id = '615c5f2e9b1e8a0012d3a4b5'
const expiresAt = new Date(Date.UTC(2021, 9, 5, 14, 48, 0, 7)).toISOString()

module.exports = [
  [Subjects.TicketCreated, { id, title: 'Tom & Jerry <live> "été" 日本 🎫', price: 20, userId: 'u1', version: 0 }],
  [Subjects.TicketCreated, { id: 't2', title: '', price: 0.1 + 0.2, userId: 'u1', version: 1 }],
  [Subjects.TicketUpdated, { id, title: 'a\nb\t\\ / \u0001 \u007f', price: 20.5, userId: 'u1', version: 1, orderId: undefined }],
  [Subjects.TicketUpdated, { id, title: 'concert', price: 1e21, userId: 'u1', version: 2, orderId: 'o1' }],
  [Subjects.OrderCreated, { id: 'o1', status: OrderStatus.Created, userId: 'u2', expiresAt, ticket: { id, price: 0.1, version: 1 } }],
  [Subjects.OrderCreated, { id: 'o2', status: OrderStatus.AwaitingPayment, userId: 'u2', expiresAt, ticket: { id, price: 1e-7, version: 2 } }],
  [Subjects.OrderCreated, { id: 'o3', status: OrderStatus.Cancelled, userId: 'u2', expiresAt, ticket: { id, price: Number.MAX_SAFE_INTEGER, version: 3 } }],
  [Subjects.OrderCreated, { id: 'o4', status: OrderStatus.Complete, userId: 'u2', expiresAt, ticket: { id, price: 0, version: 4 } }],
  [Subjects.OrderCancelled, { id: 'o1', ticket: { id, version: 2 } }],
  [Subjects.ExpirationComplete, { orderId: 'o1' }],
  [Subjects.PaymentCreated, { id: 'p1', orderId: 'o1', stripeId: 'ch_3JhYxK2eZvKYlo2C0' }]
]
