import { SeaportError } from './errors.js'
import type {
  Address,
  ConnectOptions,
  DHTServer,
  HyperDHT,
  SecretStream,
  UdxSocket
} from './holepunch.js'

/**
 * What HyperDHT does for itself in the public DHT, and has no door to: a private one has too few nodes for
 * that. Members that may be gone with the next release, each.
 */
interface Unpromised {
  readonly io?: { firewalled: boolean; readonly serverSocket?: UdxSocket }
  _nat?: NatSampler
  _randomPunchLimit?: number
  readonly _announcer?: { readonly _sleeper?: { resume?(): void } } | null
  _request?(
    to: Address & { id: null },
    force: boolean,
    internal: boolean,
    command: number,
    target: null,
    value: Buffer,
    session: null,
    onresponse: (response: { to: Address }) => void,
    onerror: (error: Error) => void
  ): object | null
}

/** Where others see a DHT node, by what several of them said. */
interface NatSampler {
  readonly constructor: new () => NatSampler
  add(host: string, port: number): void
}

/** From this number on, a router gives each call another port. */
const FIREWALL_RANDOM = 3
/** dht-rpc's command for a node to answer at another port than the one it was asked from. */
const PING_NAT = 1

/**
 * Asks a node to answer at the port that takes calls, which sends nothing itself while a DHT node is firewalled: the
 * answer comes if calls do. `to` is where it was sent. HyperDHT does so itself, in the public DHT.
 */
export function pingFromElsewhere(dht: HyperDHT, node: Address): Promise<{ to: Address }> {
  const inside = dht as Unpromised
  const port = inside.io?.serverSocket?.address().port ?? 0
  const value = Buffer.alloc(2)
  value.writeUInt16LE(port)
  return new Promise((resolve, reject) => {
    const to = { ...node, id: null }
    const asked = inside._request?.(to, false, true, PING_NAT, null, value, null, resolve, reject)
    if (!asked) reject(SeaportError.CLOSED('the DHT node cannot ask'))
  })
}

/** Tells a DHT node where all can call it without punching holes, or with null that nobody can. */
export function declareReachable(dht: HyperDHT, at: Address | null) {
  const inside = dht as Unpromised
  for (const part of [dht, inside.io]) if (part) part.firewalled = at === null
  if (!at || !inside._nat) return
  // What it was seen as before was another port's.
  inside._nat = new inside._nat.constructor()
  inside._nat.add(at.host, at.port)
}

/** How many punches at random ports may go on at a time. HyperDHT takes one, for all that a process does. */
export function limitRandomPunches(dht: HyperDHT, limit: number) {
  ;(dht as Unpromised)._randomPunchLimit = limit
}

/** Has a server found at where it is now. `refresh` alone waits for its next round, 3 s later. */
export function announceAfresh(server: DHTServer) {
  server.refresh()
  ;(server as Unpromised)._announcer?._sleeper?.resume?.()
}

/**
 * A DHT node for a swarm, which destroys the node that it is given, with its listeners on it and the calls that it makes.
 * This one is not the swarm's to destroy, so those alone end: a call at a peer that is gone would go on for seconds, with
 * 70 KB and a place among the questions to the DHT, and who makes swarms faster than that would pile them up. Methods run
 * on the node itself: a class with `#private` members refuses a Proxy.
 *
 * @param mayPunch whether a key is worth a punch at random ports, of which there are few at a time
 */
export function lend(
  dht: HyperDHT,
  mayPunch: (remotePublicKey: Buffer) => boolean = () => true
): HyperDHT {
  const listeners: [event: string, listener: (...args: unknown[]) => void][] = []
  const calls = new Set<SecretStream>()
  const own: Partial<HyperDHT> = {
    on(event: string, listener: (...args: unknown[]) => void) {
      listeners.push([event, listener])
      dht.on(event, listener)
      return dht
    },
    connect(key: Buffer, options?: ConnectOptions) {
      const holepunch = (...sides: [remote: number, local: number]) =>
        Math.max(...sides) < FIREWALL_RANDOM || mayPunch(key)
      const call = dht.connect(key, { ...options, holepunch })
      calls.add(call)
      call.once('close', () => calls.delete(call))
      return call
    },
    async destroy() {
      for (const call of calls) call.destroy()
      for (const [event, listener] of listeners.splice(0)) dht.off(event, listener)
    }
  }
  return new Proxy(dht, {
    get(target, name) {
      if (name in own) return Reflect.get(own, name)
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' && name !== 'constructor' ? value.bind(target) : value
    }
  })
}
