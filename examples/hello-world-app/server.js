/** Says hello, and who says it. A host gives it PORT and the APP_… variables. */
import { createServer } from 'node:http'

const {
  PORT = '8080',
  APP_VERSION = '0.0.0',
  APP_INSTANCE = 'here',
  APP_HOST = 'this'
} = process.env

const server = createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain')
  if (request.url === '/health') return response.end('ok\n')
  response.end(`Hello, World! from ${APP_VERSION}, ${APP_INSTANCE} on ${APP_HOST}\n`)
})
// A host asks it to end when another instance has taken over: requests that are under way are answered.
process.once('SIGTERM', () => {
  server.close()
  server.closeIdleConnections()
})

server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on port ${PORT}`))
