import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type Duplex, duplexPair, type Readable } from 'node:stream'
import type { Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { c, type MuxMessage, Protomux, SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { handshakeEncoding, REVISION } from '../../lib/link/channel-handshake.js'
import {
  type Frame,
  type OutgoingFrame,
  packetEncoding,
  readPacket
} from '../../lib/link/frames.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link, type LinkOptions } from '../../lib/link/link.js'
import { MEMORY } from '../../lib/link/memory.js'
import { LinkStream } from '../../lib/link/stream.js'
import { STREAM_PROTOCOL } from '../../lib/link/streams.js'
import { LINK_BUDGET, Window } from '../../lib/link/window.js'

/** Two ends of one encrypted connection in memory. */
export interface Pair {
  initiator: SecretStream
  responder: SecretStream
  /** From now on nothing gets through, either way, and neither side is told. */
  freeze(): void
  /** From now on the initiator takes nothing; what it sends gets through. */
  deafen(): void
}

export function secretPair(t: Test, keyPair = KeyPair()): Pair {
  const [initiatorRaw, initiatorWire] = duplexPair()
  const [responderRaw, responderWire] = duplexPair()
  const initiator = new SecretStream(true, initiatorRaw, { keyPair })
  const responder = new SecretStream(false, responderRaw, { keyPair: KeyPair() })
  const stops = [join(initiatorWire, responderWire), join(responderWire, initiatorWire)]
  // A duplex pair does not tell one end that the other was destroyed.
  const tell = (from: Duplex, to: Duplex) => from.on('close', () => isFrozen || to.destroy())
  let isFrozen = false
  tell(initiatorRaw, responderRaw)
  tell(responderRaw, initiatorRaw)
  for (const connection of [initiator, responder]) {
    connection.on('error', () => {})
    t.teardown(() => connection.destroy())
  }
  // Sockets would keep the process alive while it waits for them; memory does not.
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  return {
    initiator,
    responder,
    freeze: () => {
      isFrozen = true
      for (const stop of stops) stop()
    },
    deafen: () => stops[1]?.()
  }
}

/** Carries bytes one way, until the function that it returns is called. */
function join(from: Duplex, to: Duplex): () => void {
  let isStopped = false
  from.on('data', (chunk) => to.write(chunk) || from.pause())
  to.on('drain', () => isStopped || from.resume())
  from.on('end', () => to.end())
  return () => {
    isStopped = true
    from.pause()
  }
}

/** Two links on one connection. What the opener opens, `onincoming` of the acceptor answers. */
export function linkPair(
  t: Test,
  onincoming?: (incoming: IncomingStream) => void,
  { opener = {}, acceptor = {} }: { opener?: LinkOptions; acceptor?: LinkOptions } = {}
) {
  const { initiator, responder, freeze } = secretPair(t)
  return {
    opener: new Link(initiator, opener),
    acceptor: new Link(responder, { ...(onincoming ? { onincoming } : {}), ...acceptor }),
    freeze
  }
}

/** An opened stream and its other end. */
export async function streamPair(t: Test, options?: Parameters<typeof linkPair>[2]) {
  const accepted: LinkStream[] = []
  const links = linkPair(t, (incoming) => accepted.push(incoming.accept() as LinkStream), options)
  const openBare = async (): Promise<[LinkStream, LinkStream]> => {
    const stream = await links.opener.open()
    return [stream, accepted.shift() as LinkStream]
  }
  const open = async () => {
    const [near, far] = await openBare()
    return [near.toDuplex(), far.toDuplex()] as [Duplex, Duplex]
  }
  return { ...links, open, openBare }
}

/** A stream that leads nowhere. */
export function idleStream(): LinkStream {
  const quiet = { schedule() {}, cut() {}, finish() {} }
  const carrier = { path: 'dht' as const, memory: MEMORY, ...quiet }
  const window = new Window({ left: LINK_BUDGET })
  return new LinkStream({ id: 1, purpose: '', carrier, credit: window.size, window })
}

/** A side that speaks the protocol's frames, without keeping any of its rules. */
export class Rogue {
  readonly heard: Frame[] = []
  readonly connection: SecretStream
  readonly #message: MuxMessage<Buffer>
  #onheard: (() => void) | null = null

  constructor(connection: SecretStream) {
    this.connection = connection
    const channel = Protomux.from(connection).createChannel({
      protocol: STREAM_PROTOCOL,
      handshake: handshakeEncoding
    })
    if (!channel) throw new Error('the connection is closed')
    this.#message = channel.addMessage({
      encoding: c.raw,
      onmessage: (packet) => {
        this.heard.push(...readPacket(packet))
        this.#onheard?.()
      }
    })
    channel.open({ revision: REVISION, speaks: [] })
  }

  send(...frames: OutgoingFrame[]) {
    this.sendRaw(c.encode(packetEncoding, frames))
  }

  sendRaw(packet: Buffer) {
    this.#message.send(packet)
  }

  /** Waits for a frame of this type, on this stream. */
  async hears(type: Frame['type'], stream?: number): Promise<Frame & { window: number }> {
    const isMeant = ({ id }: Frame) => stream === undefined || id === stream
    for (;;) {
      const frame = this.heard.find((frame) => frame.type === type && isMeant(frame))
      if (frame) return frame as Frame & { window: number }
      await new Promise<void>((resolve) => {
        this.#onheard = resolve
      })
    }
  }
}

/** Why a link was closed. */
export async function closed(link: Link): Promise<SeaportError> {
  const [error] = (await once(link, 'close')) as [SeaportError]
  return error
}

/** All that a stream brings until its end. (Iterating would destroy it then, half-open or not.) */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk) => chunks.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(chunks)
}

/** A client's socket and the server's, which may both be half-open. */
export async function tcpPair(t: Test): Promise<{ client: Socket; socket: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => client.destroy())
  return { client, socket }
}
