import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { type HyperDHT, type LooseRawStream, SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { Testbed } from '../testbed.js'
import { type Conditions, UdpRelay } from '../udp-relay.js'
import type { Pair } from './pair.js'

const LOOPBACK = '127.0.0.1'

/** Two DHT nodes with a bad network in between: what connections, as HyperDHT makes them, go through. */
export class FarPair {
  readonly relay: UdpRelay
  readonly #t: Test
  readonly #near: HyperDHT
  readonly #far: HyperDHT

  private constructor(t: Test, near: HyperDHT, far: HyperDHT, relay: UdpRelay) {
    this.#t = t
    this.#near = near
    this.#far = far
    this.relay = relay
  }

  static async make(t: Test, conditions?: Conditions): Promise<FarPair> {
    const testbed = await Testbed.make(t)
    const [near, far] = [(await testbed.network()).dht, (await testbed.network()).dht]
    const ports = [near, far].map(({ socket }) => socket.address().port) as [number, number]
    return new FarPair(t, near, far, await UdpRelay.between(t, ...ports, conditions))
  }

  /** A connection, of which the near end is the initiator. */
  connect(): Omit<Pair, 'freeze' | 'deafen'> {
    const [near, far] = this.connectRaw()
    const initiator = new SecretStream(true, near, { keyPair: KeyPair() })
    const responder = new SecretStream(false, far, { keyPair: KeyPair() })
    for (const end of [initiator, responder]) end.on('error', () => {})
    return { initiator, responder }
  }

  /**
   * The same, as HyperDHT makes it: others have carried the handshake, so that both ends are told of a connection
   * before any packet went between them.
   */
  connectByOthers(): Omit<Pair, 'freeze' | 'deafen'> {
    const [near, far] = this.connectRaw()
    const [one, other, hash] = [randomBytes(32), randomBytes(32), randomBytes(64)]
    const [nearKey, farKey] = [KeyPair().publicKey, KeyPair().publicKey]
    const end = (isInitiator: boolean, raw: LooseRawStream) => {
      const [publicKey, remotePublicKey] = isInitiator ? [nearKey, farKey] : [farKey, nearKey]
      const [tx, rx] = isInitiator ? [one, other] : [other, one]
      const handshake = { isInitiator, publicKey, remotePublicKey, hash, tx, rx }
      const connection = new SecretStream(isInitiator, raw, { handshake } as object)
      return connection.on('error', () => {}) as SecretStream
    }
    return { initiator: end(true, near), responder: end(false, far) }
  }

  /** What is below a connection. */
  connectRaw(): [near: LooseRawStream, far: LooseRawStream] {
    const near = this.#near.createRawStream({ framed: true })
    const far = this.#far.createRawStream({ framed: true })
    near.connect(this.#near.socket, far.id, this.relay.nearPort, LOOPBACK)
    far.connect(this.#far.socket, near.id, this.relay.farPort, LOOPBACK)
    for (const end of [near, far]) {
      end.on('error', () => {})
      this.#t.teardown(() => end.destroy())
    }
    return [near, far]
  }
}
