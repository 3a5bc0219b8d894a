import { monotonic } from '../actors/monotonic.js'
import { percentile } from '../statistics.js'
import { LeanSocket } from './lean-socket.js'

/** What is broadcast. */
export interface Tick {
  n: number
  /** When it was sent, by the machine's clock. */
  at: number
}

/** What a crowd has seen since it was last asked. */
export interface Seen {
  deliveries: number
  /** In ms. */
  p50: number
  p99: number
  missed: number
  twice: number
  /** Of those that came back. */
  resumed: number
  anew: number
}

/** One page, by the protocol that it speaks. */
interface Speech {
  path: string
  protocol?: string
  /** Called with each text. */
  take(text: string, page: Page): void
  /** What is sent once the WebSocket is open. */
  greet(page: Page): string | null
}

interface Page {
  id: string
  socket: LeanSocket
  last: number
  isHere: boolean
  /** Called when it is connected. */
  onhere: () => void
  /** What it comes back with, and how far it has heard each instance. socket.io is not asked for that. */
  resume: { ticket?: string; secret?: string; at: Record<string, unknown> }
}

const MAX_CONNECTING = 200
const MIN_WAIT_MS = 20
const MAX_WAIT_MS = 300

/** Many pages in one process, that come back when they are lost. */
export class Crowd {
  readonly #port: number
  readonly #speech: Speech
  readonly #latencies: number[] = []
  readonly #queue: (() => void)[] = []
  #connecting = 0
  #here = 0
  #missed = 0
  #twice = 0
  #resumed = 0
  #anew = 0
  #wake = () => {}

  constructor(kind: string, port: number) {
    this.#port = port
    this.#speech = kind === 'socket.io' ? this.#socketIo() : this.#seaport()
  }

  async come(count: number) {
    for (let n = 0; n < count; n++) this.#soon(`page ${n}`, null)
    await this.here(count)
  }

  /** Resolves when so many are connected. */
  async here(count: number) {
    while (this.#here < count) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  /** Resolves when somebody was lost. */
  async lost(count: number) {
    while (this.#here >= count) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  /** One more, that reads nothing once it is connected, and so does not even see that it is cut. */
  async deaf() {
    const page = this.#page('deaf', null)
    await new Promise<void>((resolve) => {
      page.socket = this.#open(page, { onhere: resolve, onclose: () => {} })
    })
    page.socket.pause()
  }

  seen(): Seen {
    const latencies = this.#latencies.splice(0)
    const seen = {
      deliveries: latencies.length,
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99),
      missed: this.#missed,
      twice: this.#twice,
      resumed: this.#resumed,
      anew: this.#anew
    }
    this.#missed = this.#twice = this.#resumed = this.#anew = 0
    return seen
  }

  #soon(id: string, before: Page | null) {
    this.#queue.push(() => {
      const page = this.#page(id, before)
      page.socket = this.#open(page, {
        onhere: () => this.#next(),
        onclose: () => this.#lose(page)
      })
    })
    this.#start()
  }

  #page(id: string, before: Page | null): Page {
    const state = { last: 0, isHere: false, onhere: () => {}, resume: { at: {} } }
    const fresh = { id, socket: null as never, ...state }
    return before ? Object.assign(before, { isHere: false }) : fresh
  }

  #open(page: Page, { onhere, onclose }: { onhere: () => void; onclose: () => void }): LeanSocket {
    const { path, protocol } = this.#speech
    page.onhere = onhere
    return new LeanSocket({
      port: this.#port,
      path,
      protocol,
      onopen: (socket) => {
        page.socket = socket
        const greeting = this.#speech.greet(page)
        if (greeting !== null) socket.send(greeting)
      },
      onmessage: (text) => this.#speech.take(text, page),
      onclose
    })
  }

  #start() {
    while (this.#connecting < MAX_CONNECTING) {
      const next = this.#queue.shift()
      if (!next) return
      this.#connecting++
      next()
    }
  }

  #next() {
    this.#connecting--
    this.#start()
  }

  #lose(page: Page) {
    if (page.isHere) this.#here--
    else this.#next()
    this.#wake()
    const wait = MIN_WAIT_MS + Math.random() * (MAX_WAIT_MS - MIN_WAIT_MS)
    setTimeout(() => this.#soon(page.id, page), wait)
  }

  #onhere(page: Page, isResumed: boolean) {
    page.isHere = true
    if (isResumed) this.#resumed++
    else this.#anew++
    page.onhere()
    if (page.id === 'deaf') return
    this.#here++
    this.#wake()
  }

  #ontick(page: Page, { n, at }: Tick) {
    this.#latencies.push(monotonic() - at)
    if (page.last > 0 && n <= page.last) this.#twice++
    else if (page.last > 0) this.#missed += n - page.last - 1
    page.last = n
  }

  #seaport(): Speech {
    return {
      path: '/channel/chat@1.x',
      protocol: 'hyperseaport.channel.1',
      greet: ({ id, resume }) =>
        JSON.stringify({
          ...{ t: 'connect', token: id },
          ...(resume.ticket && { resume })
        }),
      take: (text, page) => {
        const { t, i, e, s, data, ticket, secret, at, resumed } = JSON.parse(text)
        const { resume } = page
        switch (t) {
          case 'broadcast':
            resume.at[i] = [e, s]
            return this.#ontick(page, data)
          case 'connected':
            Object.assign(resume, { ticket, secret, at: resumed ? { ...resume.at, ...at } : at })
            return this.#onhere(page, resumed)
          case 'ping':
            page.socket.send('{"t":"pong"}')
            Object.assign(resume.at, at)
            return
          case 'at':
            Object.assign(resume.at, at)
            return
          case 'missed':
            this.#missed++
        }
      }
    }
  }

  #socketIo(): Speech {
    return {
      path: '/socket.io/?EIO=4&transport=websocket',
      greet: () => null,
      take: (text, page) => {
        if (text.startsWith('42')) return this.#ontick(page, JSON.parse(text.slice(2))[1])
        if (text === '2') return page.socket.send('3')
        if (text.startsWith('0')) return page.socket.send('40')
        if (text.startsWith('40')) this.#onhere(page, false)
      }
    }
  }
}
