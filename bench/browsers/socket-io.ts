import type { Server as HttpServer } from 'node:http'
import { createRequire } from 'node:module'

/** What is used of socket.io. */
export interface SocketIo {
  emit(type: string, data: unknown): boolean
}

/** A server of socket.io, if it is installed. It keeps what those who come back have missed. */
export function socketIo(http: HttpServer): SocketIo {
  const require = createRequire(import.meta.url)
  const { Server } = require('socket.io') as {
    Server: new (http: HttpServer, options: object) => SocketIo
  }
  return new Server(http, {
    transports: ['websocket'],
    serveClient: false,
    connectionStateRecovery: { maxDisconnectionDuration: 60_000 }
  })
}

/** Why it cannot be measured; null if it can. */
export function socketIoMissing(): string | null {
  try {
    createRequire(import.meta.url).resolve('socket.io')
    return null
  } catch {
    return 'socket.io is not installed; run npm ci'
  }
}
