import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { BootstrapNode } from '../lib/core/bootstrap-node.js'
import { KeyPair } from '../lib/core/keys.js'
import { Network } from '../lib/core/network.js'
import { Storage } from '../lib/registry/log/storage.js'
import { Registrar, type RegistrarOptions } from '../lib/registry/registrar/registrar.js'
import type { Directory, Instance } from '../lib/registry/replica/directory.js'
import { Lease } from '../lib/registry/replica/lease.js'
import { Replica, type ReplicaOptions } from '../lib/registry/replica/replica.js'
import type { RecordFields } from '../lib/registry/trust/record.js'

/**
 * A private DHT and an empty registry, on loopback, of one test alone. All that it makes is closed at
 * the test's end, the latest first.
 */
export class Testbed {
  readonly keyPair = KeyPair()
  readonly #t: Test
  readonly #storages = new Map<Registrar | Replica, Storage>()
  readonly #bootstrap = new BootstrapNode({ port: 0 })

  private constructor(t: Test) {
    this.#t = t
  }

  static async make(t: Test): Promise<Testbed> {
    const testbed = new Testbed(t)
    await testbed.#bootstrap.setup()
    t.teardown(() => testbed.#bootstrap.destroy())
    return testbed
  }

  /** What the nodes of this DHT take as `bootstrap`. */
  get bootstrap(): string {
    return this.#bootstrap.address
  }

  /** A folder that goes with the test. */
  async dir(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-test-'))
    this.teardown(() => rm(dir, { recursive: true, force: true }))
    return dir
  }

  /** A DHT node of its own, as in a process of its own. */
  async network(): Promise<Network> {
    const network = new Network({ bootstrap: this.bootstrap })
    this.teardown(() => network.release())
    await network.ready()
    return network
  }

  async registrar(options: Partial<RegistrarOptions> & { dir?: string } = {}): Promise<Registrar> {
    const storage = await this.storage(options.dir)
    const network = options.network ?? (await this.network())
    const registrar = new Registrar({
      network,
      keyPair: this.keyPair,
      storage,
      ...TEST_TIMES,
      ...options
    })
    this.#storages.set(registrar, storage)
    this.teardown(() => this.close(registrar))
    await registrar.ready()
    return registrar
  }

  async replica(options: Partial<ReplicaOptions> & { dir?: string } = {}): Promise<Replica> {
    const storage = await this.storage(options.dir)
    const network = options.network ?? (await this.network())
    const replica = new Replica({
      network,
      registry: this.keyPair.publicKey,
      storage,
      patience: PATIENCE_MS,
      ...options
    })
    this.#storages.set(replica, storage)
    this.teardown(() => this.close(replica))
    await replica.ready()
    return replica
  }

  /** A lease of a fresh key, confirmed by a registrar. */
  async lease(
    replica: Replica,
    { keyPair = KeyPair(), ...fields }: Partial<RecordFields> & { keyPair?: KeyPair } = {}
  ): Promise<Lease> {
    const lease = new Lease({
      replica,
      keyPair,
      fields: {
        role: 'couchdb',
        version: '3.2.2',
        tags: [],
        status: 'passing',
        direct: [],
        ...fields
      }
    })
    this.teardown(() => lease.close())
    const registered = once(lease, 'registered')
    await lease.ready()
    await registered
    return lease
  }

  /** Closes a registrar or replica and its storage, so that another may open the folder. */
  async close(participant: Registrar | Replica) {
    await participant.close()
    await this.#storages.get(participant)?.close()
  }

  async storage(dir?: string): Promise<Storage> {
    const storage = new Storage({ dir: dir ?? (await this.dir()) })
    this.teardown(() => storage.close())
    await storage.ready()
    return storage
  }

  teardown(close: () => unknown) {
    this.#t.teardown(close)
  }
}

/** Resolves once the directory shows what is asked for. */
export function shows(
  directory: Directory,
  condition: (instances: Instance[]) => boolean
): Promise<Instance[]> {
  return new Promise((resolve) => {
    const check = () => {
      const instances = directory.list()
      if (!condition(instances)) return
      stop()
      resolve(instances)
    }
    const stop = directory.watch(check)
    check()
  })
}

const TEST_TIMES = { heartbeat: 100, returnGrace: 100, restartGrace: 1000, modeWait: 0 }
const PATIENCE_MS = 300
