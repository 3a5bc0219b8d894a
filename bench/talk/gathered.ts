import type { Socket } from 'node:net'

/** Writes JSON to a socket, a line each; what comes in one turn of the event loop leaves together. */
export class Gathered {
  readonly #socket: Socket
  #waiting: string[] = []

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
  }

  write(value: unknown) {
    if (this.#waiting.push(JSON.stringify(value)) === 1) setImmediate(() => this.#flush())
  }

  #flush() {
    this.#socket.write(`${this.#waiting.join('\n')}\n`)
    this.#waiting = []
  }
}
