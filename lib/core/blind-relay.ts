import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { LooseRawStream, SecretStream } from './holepunch.js'

/** One end of a pair: what comes in on it goes out on the other's, as it is. */
export interface RelayStream extends LooseRawStream {
  readonly bytesReceived: number
}

/** Who is connected to a relay. Emits `pair` with (whether it is the initiator, a token, its RelayStream). */
export interface RelaySession extends EventEmitter {
  destroy(error?: Error): void
}

export interface RelayServer {
  accept(connection: SecretStream, options: { id: Buffer }): RelaySession
  close(): Promise<void>
}

/** The package blind-relay, typed for what we call and no more. It joins those who name the same token. */
export const RelayServer = (
  createRequire(import.meta.url)('blind-relay') as {
    Server: {
      new (options: { createStream: (options: object) => RelayStream }): RelayServer
    }
  }
).Server
