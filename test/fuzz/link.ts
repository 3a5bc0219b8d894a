import type { Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { SeaportError } from '../../lib/core/errors.js'
import { c, SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { acceptDirect } from '../../lib/link/direct/handshake.js'
import { type OutgoingFrame, packetEncoding, readPacket } from '../../lib/link/frames.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link } from '../../lib/link/link.js'
import { Line, settled } from './line.js'
import type { Target } from './mutants.js'

const service = KeyPair('01'.repeat(32))
const consumer = KeyPair('02'.repeat(32))

const FRAMES: OutgoingFrame[] = [
  { type: 0, id: 1, purpose: '', window: 262_144 },
  { type: 0, id: 3, purpose: 'hyperseaport/commands/1', window: 262_144 },
  { type: 1, id: 2, window: 70_000 },
  { type: 2, id: 3, code: 'REFUSED', text: 'no' },
  { type: 3, id: 1, parts: [Buffer.from('hello')], byteLength: 5 },
  { type: 4, id: 1, amount: 300 },
  { type: 5, id: 1 },
  { type: 6, id: 1 },
  { type: 7, id: 300, code: 'STREAM_RESET' },
  { type: 8, id: 7 },
  { type: 9, id: 70_000 }
]

/** Gives back what comes, and ends when that does. */
function echo(incoming: IncomingStream) {
  const stream = incoming.accept()?.toDuplex()
  stream?.on('error', () => {}).pipe(stream)
}

/** Three streams: two are written to, one of which is ended and one cut, and one is given up. */
async function use(link: Link): Promise<void> {
  const streams = [await link.open(), await link.open()].map((stream) => stream.toDuplex())
  for (const stream of streams) stream.on('error', () => {}).resume()
  for (const word of ['hello', 'and', 'good-bye']) {
    for (const stream of streams) stream.write(word)
    await settled()
  }
  streams[0]?.end()
  streams[1]?.destroy()
  await link.flush(1000)
}

/** What each side of a link says when streams are used. */
async function session(): Promise<{ opener: Buffer[]; acceptor: Buffer[] }> {
  const [near, far] = Line.pair()
  const opener = new Link(near.stream)
  const acceptor = new Link(far.stream, { onincoming: echo })
  await use(opener)
  while (opener.size + acceptor.size > 0) await settled()
  opener.destroy()
  acceptor.destroy()
  return { opener: near.said, acceptor: far.said }
}

/** Feeds a link, and tells what it was closed with; whoever waits for it must have been answered. */
async function endure(line: Line, link: Link, messages: Buffer[]) {
  for (const message of messages) {
    line.feed(message)
    await settled()
  }
  const wasClosed = link.isClosed
  const closed = new Promise<SeaportError>((resolve) => link.on('close', resolve))
  line.destroy()
  if (wasClosed) throw SeaportError.BAD_MESSAGE('it was cut')
  await closed
  if (link.size > 0) throw new Error('streams outlived their link')
}

export async function linkTargets(): Promise<Record<string, Target>> {
  const { opener, acceptor } = await session()
  return {
    packet: {
      valid: [Buffer.from(c.encode(packetEncoding, FRAMES))],
      read: ([input]) => [...readPacket(input as Buffer)].length
    },
    'link of a service': {
      valid: opener,
      read(messages) {
        const line = new Line(false)
        return endure(line, new Link(line.stream, { onincoming: echo }), messages)
      }
    },
    'link of a consumer': {
      valid: acceptor,
      async read(messages) {
        const line = new Line(true)
        const link = new Link(line.stream)
        const used = use(link).then(
          () => null,
          (error) => error
        )
        await endure(line, link, messages)
        const failure = await used
        if (failure !== null) throw failure
      }
    },
    'first messages by TCP': {
      valid: await firstMessages(),
      read: knock,
      mayAccept: () => false,
      isForOthers: true
    }
  }
}

/** What a consumer says by TCP before it has heard anything, and what comes next from whoever repeats it. */
async function firstMessages(): Promise<Buffer[]> {
  const [near, far] = duplexPair()
  const options = { pattern: 'IK', keyPair: consumer, remotePublicKey: service.publicKey } as const
  const connection = new SecretStream(true, near, options)
  connection.on('error', () => {})
  const said: Buffer[] = []
  far.on('data', (bytes) => said.push(bytes))
  await settled()
  await settled()
  connection.destroy()
  return [Buffer.concat(said), Buffer.concat([Buffer.of(20, 0, 0), Buffer.alloc(20, 5)])]
}

/** @returns the connection, if it was taken for the consumer's */
async function knock(messages: Buffer[]): Promise<SecretStream> {
  const [near, far] = duplexPair()
  const socket = asSocket(far)
  const accepted = acceptDirect(socket, service)
  accepted.catch(() => {})
  for (const message of messages) {
    near.write(message)
    await settled()
  }
  near.destroy()
  socket.destroy()
  return accepted
}

function asSocket(stream: Duplex): Socket {
  stream.on('error', () => {})
  return Object.assign(stream, { setNoDelay() {}, setKeepAlive() {} }) as unknown as Socket
}
