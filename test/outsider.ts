import { once } from 'node:events'
import { connect } from 'node:net'
import { parseBootstrap } from '../lib/core/bootstrap-list.js'
import {
  c,
  crypto,
  HyperDHT,
  Hyperswarm,
  type MuxMessage,
  Protomux,
  SecretStream
} from '../lib/core/holepunch.js'
import { KeyPair, toHex } from '../lib/core/keys.js'
import { Corestore, Hyperbee } from '../lib/registry/log/hypercore.js'
import { Reader, uint } from './outsider-wire.js'
import type { Testbed } from './testbed.js'

/** How an outsider introduces itself on one connection. */
export interface Approach {
  /** What it takes for the registry's public key. */
  registry?: Buffer
  /** The keys that it proves to hold, beside that of the connection. */
  keys?: KeyPair[]
  /** Grants that it brings. */
  grants?: object[]
  /** Says this in place of its credentials, having heard theirs; null to say nothing. */
  credentials?: (theirs: Buffer) => Buffer | null
  /** Whom it welcomes, by their credentials. Default: everybody. */
  admits?: (theirs: Buffer) => boolean
}

/** What is told of a log. */
export interface HeardLog {
  certificate: { logKey: string; registrarKey: string; startedAt: number; renewedAt: number }
  length: number
  head?: object
}

/** What became of something that was tried: `yes`, or the code that it was refused with. */
export type Outcome = string

const HELLO = 1
const DENIED = 2
const CREDENTIALS = 3
const WELCOME = 4
/** Of what is sent on the registry's channel, in this order. */
const MESSAGES = ['logs', 'ping', 'pong', 'lease', 'answer', 'put'] as const
/** Of what is sent on a link. */
const [OPEN, CONNECTED, REFUSED, DATA, PING, PONG] = [0, 1, 2, 3, 8, 9]
const PATIENCE_MS = 10_000

/**
 * A client of the registry's protocols that was written from their description. None of the project's
 * checks, messages or connections is in it, so what it is refused was refused by the other side.
 */
export class Outsider {
  readonly #testbed: Testbed
  readonly #registry: Buffer
  readonly #dht: HyperDHT

  constructor(testbed: Testbed, registry: Buffer) {
    this.#testbed = testbed
    this.#registry = registry
    this.#dht = new HyperDHT({ bootstrap: parseBootstrap(testbed.bootstrap), host: '127.0.0.1' })
    testbed.teardown(() => this.#dht.destroy())
  }

  /** Looks a topic of the registry up on the DHT, and tells who announces itself there. */
  async find(topic: 'registrars' | 'replicas'): Promise<Buffer> {
    const dht = new HyperDHT({
      bootstrap: parseBootstrap(this.#testbed.bootstrap),
      host: '127.0.0.1'
    })
    const swarm = new Hyperswarm({ dht })
    try {
      swarm.join(crypto.hash([Buffer.from(`hyperseaport/${topic}/1`), this.#registry]), {
        server: false,
        client: true
      })
      const [connection] = (await once(swarm, 'connection')) as [SecretStream]
      connection.on('error', () => {})
      return connection.remotePublicKey
    } finally {
      await swarm.destroy()
    }
  }

  /** Calls at a participant, and says nothing. */
  async dial(participant: Buffer, keyPair = KeyPair()): Promise<SecretStream> {
    const connection = this.#dht.connect(participant, { keyPair })
    this.#testbed.teardown(() => connection.destroy())
    connection.on('error', () => {})
    await Promise.race([once(connection, 'open'), closed(connection)])
    return connection
  }

  /** Calls at a participant, and introduces itself. */
  async meet(participant: Buffer, approach: Approach = {}, keyPair = KeyPair()): Promise<Meeting> {
    const connection = await this.dial(participant, keyPair)
    const meeting = new Meeting(connection, { registry: this.#registry, ...approach }, keyPair)
    await meeting.settled
    return meeting
  }

  /** Opens a stream to a service over the DHT, and waits for what it says to be repeated. */
  connect(service: Buffer, keyPair: KeyPair): Call {
    return this.#call(this.link(service, keyPair))
  }

  /** A link to a service over the DHT, for streams of any purpose. */
  link(service: Buffer, keyPair: KeyPair): SecretStream {
    const connection = this.#dht.connect(service, { keyPair })
    this.#testbed.teardown(() => connection.destroy())
    return connection
  }

  /** The same by TCP. */
  linkDirectly(address: string, service: Buffer, keyPair: KeyPair): SecretStream {
    const [host, port] = address.split(':')
    const socket = connect({ host: host as string, port: Number(port) })
    socket.on('error', () => {})
    const options = { pattern: 'IK', keyPair, remotePublicKey: service } as const
    const connection = new SecretStream(true, socket, options)
    this.#testbed.teardown(() => connection.destroy())
    return connection
  }

  /** The same by TCP. */
  connectDirectly(address: string, service: Buffer, keyPair: KeyPair): Call {
    return this.#call(this.linkDirectly(address, service, keyPair))
  }

  #call(connection: SecretStream): Call {
    return new Call(connection)
  }

  /**
   * What a log holds, read over a connection to whoever may have it: null if nothing comes before the
   * connection is closed, or within `patience` ms.
   */
  async read(
    { connection, mux }: Wire,
    log: Buffer,
    patience = PATIENCE_MS
  ): Promise<string[] | null> {
    const store = new Corestore(await this.#testbed.dir())
    this.#testbed.teardown(() => store.close())
    await store.ready()
    const core = store.get({ key: log })
    await core.ready()
    store.replicate(mux)
    const grown = once(core, 'append').then(() => true)
    if (!(await Promise.race([grown, closed(connection), late(patience)]))) return null
    const bee = new Hyperbee<object>(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
    const places: string[] = []
    for await (const { key } of bee.createReadStream({}, { timeout: patience })) places.push(key)
    return places
  }
}

/** A connection, and what is spoken on it once it is established. */
export interface Wire {
  connection: SecretStream
  mux: Protomux
}

/** One connection to a participant of the registry, from its first message on. */
export class Meeting implements Wire {
  readonly connection: SecretStream
  readonly keyPair: KeyPair
  /** Welcomed, denied or hung up on; or, if it shows no credentials, shown the other's. */
  readonly settled: Promise<unknown>
  /** Resolves when the connection is cut. */
  readonly closed: Promise<unknown>
  /** What was heard before that, by kind. */
  readonly heard = new Map<number, Buffer>()
  /** What the other side has told of logs. */
  readonly logs: HeardLog[] = []
  isWelcome = false
  /** The code it was denied with. */
  denial: Outcome | null = null

  readonly #approach: Approach & { registry: Buffer }
  readonly #answers = new Map<number, (code: Outcome) => void>()
  readonly #messages = new Map<string, MuxMessage<Buffer>>()
  #mux: Protomux | null = null
  #lastId = 0

  constructor(
    connection: SecretStream,
    approach: Approach & { registry: Buffer },
    keyPair: KeyPair
  ) {
    this.connection = connection
    this.keyPair = keyPair
    this.#approach = approach
    this.closed = closed(connection)
    this.settled = new Promise((resolve) => {
      const ondata = (message: Buffer) => {
        if (message.byteLength === 0) return
        this.heard.set(message[0] as number, message.subarray(1))
        if (this.#take(message[0] as number, message.subarray(1))) return
        connection.off('data', ondata)
        resolve(null)
      }
      connection.on('data', ondata)
      void this.closed.then(resolve)
    })
    this.#say(HELLO, this.#proof(connection.isInitiator))
  }

  /** What is spoken after the welcome, or in spite of there being none. */
  get mux(): Protomux {
    this.#mux ??= Protomux.from(this.connection)
    return this.#mux
  }

  /** Asks for the lease of a service, which this connection's key would hold. */
  register(service: KeyPair, role: string, version: string, status = 'passing'): Promise<Outcome> {
    const record = sign(
      {
        type: 'hyperseaport/record/1',
        registry: toHex(this.#approach.registry),
        key: toHex(service.publicKey),
        role,
        version,
        tags: [],
        status,
        direct: [],
        holder: toHex(this.keyPair.publicKey),
        seq: Date.now()
      },
      service
    )
    return this.ask('lease', JSON.stringify(record))
  }

  /** Asks for something that is written in JSON, and tells what was answered. */
  ask(what: 'lease' | 'put', json: string): Promise<Outcome> {
    if (this.connection.destroyed) return Promise.resolve(this.denial ?? 'hung up')
    this.#openChannel()
    const id = ++this.#lastId
    const body = Buffer.from(json)
    this.#messages.get(what)?.send(Buffer.concat([uint(id), uint(body.byteLength), body]))
    return new Promise((resolve) => {
      this.#answers.set(id, resolve)
      void this.closed.then(() => resolve(this.denial ?? 'hung up'))
    })
  }

  /** Says something that is not answered. */
  tell(what: 'logs' | 'ping', body: Buffer) {
    if (this.connection.destroyed) return
    this.#openChannel()
    this.#messages.get(what)?.send(body)
  }

  /** Tells of logs, as news. */
  tellLogs(logs: object[]) {
    const list = Buffer.from(JSON.stringify(logs))
    this.tell('logs', Buffer.concat([uint(0), uint(list.byteLength), list]))
  }

  /** Takes a message, and tells whether to wait for another one. */
  #take(kind: number, body: Buffer): boolean {
    const { credentials, admits = () => true } = this.#approach
    if (kind === HELLO && !credentials) this.#say(CREDENTIALS, this.#introduction())
    if (kind === CREDENTIALS) {
      const forged = credentials?.(body)
      if (forged === null) return false
      if (forged) this.#say(CREDENTIALS, forged)
      if (admits(body)) this.#say(WELCOME, Buffer.alloc(0))
    }
    if (kind === DENIED) this.denial = /^[A-Z_]+/.exec(body.toString())?.[0] ?? ''
    this.isWelcome = kind === WELCOME
    // In the same turn, as the other side goes on at once.
    if (this.isWelcome) this.#openChannel()
    return !this.isWelcome && this.denial === null
  }

  #say(kind: number, body: Buffer) {
    this.connection.write(Buffer.concat([Buffer.of(kind), body]))
  }

  #proof(byInitiator: boolean): Buffer {
    const { registry } = this.#approach
    const { handshakeHash } = this.connection
    const parts = [Buffer.from('hyperseaport/hello/1'), registry, handshakeHash]
    return crypto.hash([...parts, Buffer.of(byInitiator ? 1 : 0)])
  }

  #introduction(): Buffer {
    const { keys = [], grants = [] } = this.#approach
    const bytes = this.#memberBytes(this.connection.isInitiator)
    const proofs = keys.map(({ publicKey, secretKey }) => ({
      key: toHex(publicKey),
      signature: toHex(crypto.sign(bytes, secretKey))
    }))
    return Buffer.from(JSON.stringify({ proofs, grants }))
  }

  /** What a side signs to prove that it holds a key. */
  #memberBytes(byInitiator: boolean): Buffer {
    const { registry } = this.#approach
    const { handshakeHash } = this.connection
    const parts = [Buffer.from('hyperseaport/member/1'), registry, handshakeHash]
    return crypto.hash([...parts, Buffer.of(byInitiator ? 1 : 0)])
  }

  #openChannel() {
    if (this.#messages.size > 0) return
    const channel = this.mux.createChannel({ protocol: 'hyperseaport/registry/3' })
    if (!channel) return
    for (const name of MESSAGES) {
      const onmessage = (message: Buffer) => {
        if (name === 'ping') this.#messages.get('pong')?.send(Buffer.alloc(0))
        if (name === 'answer') this.#onanswer(message)
        if (name === 'logs') this.logs.push(...JSON.parse(new Reader(message.subarray(1)).text()))
      }
      this.#messages.set(name, channel.addMessage({ encoding: c.raw, onmessage }))
    }
    channel.open()
  }

  #onanswer(message: Buffer) {
    const reader = new Reader(message)
    const id = reader.uint()
    this.#answers.get(id)?.(reader.text() || 'yes')
  }
}

/** One link to a service, and a stream that is opened on it. */
export class Call implements Wire {
  readonly connection: SecretStream
  readonly mux: Protomux
  /** `yes` when what was said came back, or the code that the stream was refused with. */
  readonly outcome: Promise<Outcome>
  /** Resolves when the link is cut. */
  readonly closed: Promise<void>

  constructor(connection: SecretStream) {
    this.connection = connection
    connection.on('error', () => {})
    this.closed = closed(connection).then(() => {})
    this.mux = Protomux.from(connection)
    this.outcome = new Promise((resolve) => {
      void this.closed.then(() => resolve('hung up'))
      const channel = this.mux.createChannel({
        protocol: 'hyperseaport/streams/2',
        handshake: c.raw
      })
      const message = channel?.addMessage({
        encoding: c.raw,
        onmessage: (packet: Buffer) => {
          const reader = new Reader(packet)
          const type = reader.byte()
          const id = uint(reader.uint())
          const word = Buffer.from('hello')
          if (type === PING) message?.send(Buffer.concat([Buffer.of(PONG), id]))
          if (type === REFUSED) resolve(reader.text())
          if (type === CONNECTED) {
            message?.send(Buffer.concat([Buffer.of(DATA, 1, word.byteLength), word]))
          }
          if (type === DATA) resolve(reader.text() === 'hello' ? 'yes' : 'something else')
        }
      })
      // Of revision 0, and nothing is spoken here; then a stream whose purpose is empty.
      channel?.open(Buffer.of(0, 0))
      message?.send(Buffer.concat([Buffer.of(OPEN, 1, 0), uint(1000)]))
    })
  }
}

/** Signs a statement: all its fields, their names sorted. */
export function sign<T extends object>(
  fields: T,
  { secretKey }: KeyPair
): T & { signature: string } {
  const signature = toHex(crypto.sign(Buffer.from(canonical(fields)), secretKey))
  return { ...fields, signature }
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`)}}`
}

function closed(connection: SecretStream): Promise<false> {
  if (connection.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => connection.on('close', () => resolve(false)))
}

function late(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms).unref())
}
