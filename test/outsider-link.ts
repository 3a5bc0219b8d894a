import { c, Protomux, type SecretStream } from '../lib/core/holepunch.js'
import type { Outcome } from './outsider.js'
import { Reader, uint } from './outsider-wire.js'

const OPEN = 0
const CONNECTED = 1
const REFUSED = 2
const DATA = 3
const CREDIT = 4
const RESET = 7
const PING = 8
const PONG = 9
const WINDOW = 60_000

const CALL = 1
const ANSWER = 2
const FAILURE = 4
const SUBSCRIBE = 12
const SUBSCRIBED = 13
const EVENT = 15
const HELLO = Buffer.of(2, 0, 0, 0, 0, 1)

/** A stream that a foreign client opened. */
interface Opened {
  onframe: (type: number, body: Buffer) => void
  onover: (outcome: Outcome) => void
  rest: Buffer
  first: Buffer
}

/** A link to a service whose client was written from docs/messages.md and docs/reference/wire.md. */
export class OutsiderLink {
  /** Resolves when the link is cut. */
  readonly closed: Promise<void>
  readonly #streams = new Map<number, Opened>()
  readonly #send: (packet: Buffer) => void
  #lastId = -1

  constructor(connection: SecretStream) {
    connection.on('error', () => {})
    this.closed = new Promise((resolve) => {
      connection.on('close', () => {
        for (const { onover } of this.#streams.values()) onover('hung up')
        resolve()
      })
    })
    const channel = Protomux.from(connection).createChannel({
      protocol: 'hyperseaport/streams/2',
      handshake: c.raw
    })
    const message = channel?.addMessage({
      encoding: c.raw,
      onmessage: (packet: Buffer) => this.#take(packet)
    })
    channel?.open(Buffer.of(0, 0))
    this.#send = (packet) => message?.send(packet)
  }

  /** Has a command executed: `yes` if it is answered, or the code of why it is not. */
  call(name: string, purpose = 'hyperseaport/conversation/1'): Promise<Outcome> {
    const body = Buffer.concat([
      Buffer.of(CALL, 1, 0, 0, 0, 0x10, 0x27, 0, 0, 0, name.length),
      Buffer.from(name),
      Buffer.of(0, 0)
    ])
    return this.#open(purpose, body, (type, frame, tell) => {
      if (type === ANSWER) tell('yes')
      if (type === FAILURE) tell(codeOf(frame))
    })
  }

  /** Asks to take its state over. */
  takeOver(): Promise<Outcome> {
    return this.call('takeover', 'hyperseaport/takeover/1')
  }

  /** Listens to all events: `yes` if they may be heard. */
  listen(onevent: () => void = () => {}): Promise<Outcome> {
    const body = Buffer.concat([Buffer.of(SUBSCRIBE), Buffer.alloc(13), Buffer.from('["*"]')])
    return this.#open('hyperseaport/events/1', body, (type, frame, tell) => {
      if (type === SUBSCRIBED) tell('yes')
      if (type === FAILURE) tell(codeOf(frame))
      if (type === EVENT) onevent()
    })
  }

  #open(
    purpose: string,
    body: Buffer,
    onframe: (type: number, body: Buffer, tell: (outcome: Outcome) => void) => void
  ): Promise<Outcome> {
    this.#lastId += 2
    const id = this.#lastId
    const length = Buffer.alloc(4)
    length.writeUInt32LE(body.byteLength)
    return new Promise((resolve) => {
      this.#streams.set(id, {
        onframe: (type, frame) => onframe(type, frame, resolve),
        onover: resolve,
        rest: Buffer.alloc(0),
        first: Buffer.concat([HELLO, length, body])
      })
      void this.closed.then(() => resolve('hung up'))
      const name = Buffer.from(purpose)
      const open = [Buffer.of(OPEN), uint(id), uint(name.byteLength), name, uint(WINDOW)]
      this.#send(Buffer.concat(open))
    })
  }

  #take(packet: Buffer) {
    const reader = new Reader(packet)
    while (!reader.isOver) {
      const type = reader.byte()
      const id = reader.uint()
      const stream = this.#streams.get(id)
      if (type === CONNECTED) {
        reader.uint()
        const { first = Buffer.alloc(0) } = stream ?? {}
        this.#send(Buffer.concat([Buffer.of(DATA), uint(id), uint(first.byteLength), first]))
      } else if (type === REFUSED) {
        stream?.onover(reader.text())
        reader.text()
      } else if (type === RESET) stream?.onover(reader.text())
      else if (type === DATA) {
        const bytes = reader.bytes()
        if (stream) read(stream, bytes)
      } else if (type === CREDIT) reader.uint()
      else if (type === PING) this.#send(Buffer.concat([Buffer.of(PONG), uint(id)]))
    }
  }
}

function read(stream: Opened, bytes: Buffer) {
  let rest = Buffer.concat([stream.rest, bytes])
  while (rest.byteLength >= 4 && rest.byteLength >= 4 + rest.readUInt32LE(0)) {
    const end = 4 + rest.readUInt32LE(0)
    stream.onframe(rest[4] as number, rest.subarray(5, end))
    rest = rest.subarray(end)
  }
  stream.rest = rest
}

/** Of a FAILURE: id (4), executed (1), length of the code (1), code. */
function codeOf(frame: Buffer): Outcome {
  return frame.subarray(6, 6 + (frame[5] as number)).toString()
}
