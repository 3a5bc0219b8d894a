import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Test } from 'tap'
import { randomFrom } from './random.js'

const LOOPBACK = '127.0.0.1'
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
/** As routers of old held for a line of a few Mbit/s. */
const QUEUE_BYTES = 128 * 1024

/** How a way treats its packets. What is left out is perfect. */
export interface Conditions {
  /** The part of the packets that is lost, from 0 to 1. */
  loss?: number
  /** One way, in ms. */
  delay?: number
  /** What may come on top, in ms. Packets do not overtake each other: on one path they rarely do. */
  jitter?: number
  /** Bytes per second. */
  rate?: number
  /** What may wait where there is a rate, in bytes. More is dropped. */
  queue?: number
}

/**
 * A bad network between two UDP sockets on loopback: `near` and `far` each send to a port of its own
 * and see the other there. Made for one test, and gone at its end.
 */
export class UdpRelay {
  /** From near to far, and back. */
  readonly there: Way
  readonly back: Way
  readonly #t: Test
  #facingFar: Socket
  readonly #facingNear: Socket

  private constructor(t: Test, ways: [Way, Way], sockets: [Socket, Socket]) {
    this.#t = t
    ;[this.there, this.back] = ways
    ;[this.#facingNear, this.#facingFar] = sockets
  }

  /** @param seed of what is lost, and of the jitter */
  static async between(
    t: Test,
    near: number,
    far: number,
    conditions: Conditions = {},
    seed = 1
  ): Promise<UdpRelay> {
    const random = randomFrom(seed)
    const sockets = [await bound(t), await bound(t)] as const
    const there = new Way((packet) => relay.#facingFar.send(packet, far, LOOPBACK), random)
    const back = new Way((packet) => relay.#facingNear.send(packet, near, LOOPBACK), random)
    const relay: UdpRelay = new UdpRelay(t, [there, back], [...sockets])
    relay.#facingNear.on('message', (packet) => there.take(packet))
    relay.#facingFar.on('message', (packet) => back.take(packet))
    relay.set(conditions)
    t.teardown(() => relay.cut())
    return relay
  }

  /** Where near sends what is meant for far. */
  get nearPort(): number {
    return this.#facingNear.address().port
  }

  /** Where far sends what is meant for near, and where it sees near. */
  get farPort(): number {
    return this.#facingFar.address().port
  }

  /** From now on, both ways are like this. */
  set(conditions: Conditions) {
    this.there.conditions = conditions
    this.back.conditions = conditions
  }

  /** Nothing gets through any more, until `mend`. What is under way is lost. */
  cut() {
    this.there.cut()
    this.back.cut()
  }

  mend() {
    this.there.isCut = false
    this.back.isCut = false
  }

  /**
   * Gives near another address, as a NAT does that has forgotten the old one, or a phone that is on
   * another network now. What far sends to the old one goes nowhere.
   */
  async rebind() {
    const old = this.#facingFar
    old.removeAllListeners('message')
    this.#facingFar = await bound(this.#t)
    this.#facingFar.on('message', (packet) => this.back.take(packet))
  }
}

/** One direction. */
export class Way {
  conditions: Conditions = {}
  isCut = false
  readonly stats = {
    packets: 0,
    bytes: 0,
    /** What chance took, what was too much for the queue, and what came while it was cut. */
    lost: 0,
    dropped: 0,
    cut: 0
  }

  readonly #deliver: (packet: Buffer) => void
  readonly #random: () => number
  /** Under way, the oldest first; all are due in this order. */
  #packets: { packet: Buffer; dueAt: number }[] = []
  #timer: NodeJS.Timeout | null = null
  /** When the last of what waits for its turn has left. */
  #freeAt = 0
  #lastDueAt = 0

  constructor(deliver: (packet: Buffer) => void, random: () => number) {
    this.#deliver = deliver
    this.#random = random
  }

  take(packet: Buffer) {
    this.stats.packets++
    this.stats.bytes += packet.byteLength
    const { loss = 0, rate = Infinity, queue = QUEUE_BYTES } = this.conditions
    const now = performance.now()
    const startsAt = Math.max(now, this.#freeAt)
    if (this.isCut) this.stats.cut++
    else if (this.#random() < loss) this.stats.lost++
    else if ((startsAt - now) * rate > queue * 1000) this.stats.dropped++
    else this.#carry(packet, startsAt + (packet.byteLength * 1000) / rate)
  }

  cut() {
    this.isCut = true
    this.#packets = []
  }

  /** @param leavesAt when the last of it has left, where there is a rate */
  #carry(packet: Buffer, leavesAt: number) {
    const { delay = 0, jitter = 0 } = this.conditions
    const dueAt = Math.max(this.#lastDueAt, leavesAt + delay + jitter * this.#random())
    this.#freeAt = leavesAt
    this.#lastDueAt = dueAt
    this.#packets.push({ packet, dueAt })
    this.#deliverDue()
  }

  #deliverDue() {
    const now = performance.now()
    let due = 0
    for (const { packet, dueAt } of this.#packets) {
      if (dueAt > now) break
      this.#deliver(packet)
      due++
    }
    if (due > 0) this.#packets.splice(0, due)
    const next = this.#packets[0]
    if (!next || this.#timer) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#deliverDue()
    }, next.dueAt - now)
  }
}

async function bound(t: Test): Promise<Socket> {
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES
  })
  socket.bind(0, LOOPBACK)
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  return socket
}
