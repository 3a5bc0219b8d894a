import { once } from 'node:events'
import type { Test } from 'tap'
import WebSocket from 'ws'
import { Service, type ServiceOptions, type Web, type WebOptions } from '../../../lib/index.js'
import { Harbor, lists } from '../harbor.js'

/** A service with clients, and gateways in front of it. */
export interface Pier {
  harbor: Harbor
  service: Service
  web: Web
  /** Another instance of the same service. */
  instance(options?: Partial<ServiceOptions>): Promise<Service>
}

export async function pier(t: Test, options: Partial<WebOptions> = {}): Promise<Pier> {
  const harbor = await Harbor.make(t)
  const instance = async (more: Partial<ServiceOptions> = {}) => {
    const dir = await harbor.testbed.dir()
    const terms = { ...harbor.options, role: 'chat@1.0.0', dir, commands: {}, ...more }
    const service = Service({ drainTimeout: 500, ...terms } as ServiceOptions)
    service.clients.on('connect', ({ token }) => {
      if (typeof token !== 'string') throw new Error('no token')
      return { id: token, data: { name: token } }
    })
    service.clients.on('message', (data, client, type) => {
      if (type === 'join') client.join(data)
      if (type === 'leave') client.leave(data)
      return { type, id: client.id, data }
    })
    t.teardown(() => service.destroy())
    await service.setup()
    return service
  }
  const service = await instance()
  const web = await harbor.web({ drainTimeout: 1000, ...options })
  if (options.access === undefined) await lists(web, 1)
  return { harbor, service, web, instance }
}

export interface Frame extends Record<string, unknown> {
  t: string
}

/** A page that speaks the wire by hand. */
export class RawPage {
  readonly socket: WebSocket
  readonly #frames: Frame[] = []
  #wake: () => void = () => {}
  closed: Promise<number>

  constructor(web: Web, { path = 'channel/chat@1.x', headers = {} } = {}) {
    const url = `${web.url.replace(/^http/, 'ws')}${path}`
    this.socket = new WebSocket(url, 'hyperseaport.channel.1', { headers })
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.#frames.push(readFrame(data, isBinary))
      this.#wake()
    })
    this.closed = new Promise((resolve) => this.socket.once('close', resolve))
  }

  send(frame: object | string | Buffer) {
    const isRaw = typeof frame === 'string' || Buffer.isBuffer(frame)
    this.socket.send(isRaw ? frame : JSON.stringify(frame))
  }

  async opened() {
    if (this.socket.readyState === WebSocket.CONNECTING) await once(this.socket, 'open')
  }

  async connect(frame: object) {
    await this.opened()
    this.send({ t: 'connect', ...frame })
    return this.next('connected')
  }

  /** The next frame of a kind; those before it are passed by. */
  async next(t: string): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame?.t === t) return frame
      if (!frame) await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

function readFrame(data: Buffer, isBinary: boolean): Frame {
  if (!isBinary) return JSON.parse(data.toString())
  const end = 2 + data.readUInt16BE(0)
  return { ...JSON.parse(data.subarray(2, end).toString()), data: data.subarray(end) }
}
