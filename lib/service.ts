import { EventEmitter } from 'node:events'
import { type Callable, callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { forward } from './core/forward.js'
import { checkKeyPair, type KeyPair, parseKey, toHex } from './core/keys.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { type Measure, measuresOf } from './core/metrics.js'
import { parseServiceRole, type ServiceRole } from './core/role.js'
import { arrive, overseerOf, STAY_MS, type TakeOverFrom } from './hot-swap.js'
import { DRAIN_TIMEOUT_MS } from './link/acceptor.js'
import { type DirectReach, parseDirectReach } from './link/direct/address.js'
import type { Clients } from './messaging/clients/clients.js'
import { commandMeasures } from './messaging/command-measures.js'
import type { Commands } from './messaging/commands.js'
import type { Events } from './messaging/events.js'
import { checkMail, Mail } from './messaging/mail/mail.js'
import type { State } from './messaging/state/state.js'
import { Talk } from './messaging/talk.js'
import { checkOptions } from './option-shapes.js'
import { checkSlotName, type HeldKey, StateFiles, takeServiceKey } from './registry/log/own-keys.js'
import { Participant } from './registry/replica/participant.js'
import { withAdvice } from './registry/swarm/denial.js'
import { checkTags, type ServiceRecord } from './registry/trust/signed.js'
import type { ServiceEvents, ServiceOptions, ServiceTerms } from './service-options.js'
import { Admission } from './serving/admission.js'
import { HealthCheck } from './serving/health.js'
import { Listeners } from './serving/listeners.js'
import { type Origin, originOf } from './serving/origin.js'
import { checkAlone } from './serving/probe.js'
import { type Connect, introduced } from './serving/proxy-protocol.js'
import { notRegistered, Registration } from './serving/registration.js'

const SETUP_TIMEOUT_MS = 30_000
const VERB = 'service'
const DIRECT_REACH: DirectReach = 'lan'

/** A backend on this machine, registered and reachable. */
class ServiceFace extends EventEmitter<ServiceEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  /** What it serves: a name and an exact version. */
  readonly role: ServiceRole
  readonly #registry: Buffer
  readonly #origin: Origin
  readonly #talk: Talk
  readonly #mail: Mail
  /** How the backend is connected to. */
  readonly #connect: Connect
  readonly #health: HealthCheck
  readonly #tags: string[]
  readonly #reach: DirectReach
  readonly #terms: ServiceTerms
  #timeout: number
  readonly #dir: string | undefined
  readonly #participant: Participant
  readonly #admission: Admission
  readonly #name: string | undefined
  readonly #takeOver: TakeOverFrom
  #keyPair: KeyPair | undefined
  readonly #findKey: (() => Promise<KeyPair>) | undefined
  #heldKey: HeldKey | null = null
  #listeners: Listeners | null = null
  #registration: Registration | null = null
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE */
  constructor(options: ServiceOptions) {
    super()
    checkOptions(options)
    const { registryPublicKey, role, keyPair, name, tags = [], allow, server } = options
    const { direct = DIRECT_REACH, dir, verb = VERB, takeOver = false, bootstrap, host } = options
    this.role = parseServiceRole(role)
    this.#registry = parseKey(registryPublicKey, 'registry public key')
    this.#origin = originOf(options)
    const isElsewhere = this.#origin.hasBackend && !server
    const serviceKey = isElsewhere ? () => this.publicKey : null
    const connect: Connect = (options) => this.#origin.connect(options)
    this.#connect = introduced(connect, serviceKey, options.proxyProtocol)
    const check = options.check ?? (isElsewhere ? undefined : 'none')
    if (!isElsewhere && check !== 'none') {
      throw SeaportError.USAGE('what runs in this process is not checked, it knows how it is')
    }
    this.#health = new HealthCheck({ ...options, check, connect: this.#connect })
    if (keyPair && name !== undefined) {
      throw SeaportError.USAGE(
        'a name chooses a key that is kept, so give a key pair or a name, not both'
      )
    }
    if (typeof keyPair === 'function') this.#findKey = keyPair
    else this.#keyPair = keyPair && checkKeyPair(keyPair)
    checkMail(options.mail)
    this.#name = name === undefined ? undefined : checkSlotName(name)
    this.#tags = checkTags(tags)
    this.#reach = parseDirectReach(direct)
    this.#terms = options
    this.#dir = dir
    this.#takeOver = takeOver
    this.#timeout = options.timeout ?? SETUP_TIMEOUT_MS
    this.#talk = new Talk({
      ...options,
      registry: this.#registry,
      role: this.role,
      denialOf: (peer, name) => this.#admission.denialOfCommand(peer, name),
      onnotice: this.#onnotice,
      isNewcomer: takeOver !== false,
      overseer: overseerOf(() => this.#participant, this.role),
      onmoved: (key) => this.#onmoved(key),
      onfirst: () => this.#speak()
    })
    const { supervisor } = this.#origin
    if (supervisor) forward(supervisor, this, ['up', 'exit', 'notice'])
    const allowed = allow?.map((key) => toHex(parseKey(key, 'allowed key')))
    const member = { registry: this.#registry, bootstrap, host, dir, verb }
    const participant = Participant.acquire(member)
    this.#participant = participant
    this.#mail = new Mail({
      ...{ ...options.mail, forward: options.forward, dir, verb, participant },
      oncall: (call, replies) =>
        this.#talk.oncall(call, replies, (use) => this.#admission.authorize(call.from, use)),
      ...{ onnotice: this.#onnotice, onwanted: () => void this.#takeMail() },
      onrecord: () => this.#registration?.update(this.#mail.fields)
    })
    const { grants } = participant.membership
    this.#admission = new Admission({ grants, role: this.role, allow: allowed })
  }

  /** What it can be told to do. */
  get commands(): Commands {
    return this.#talk.commands
  }

  /** Browsers, through gateways. They are let in once this is used. */
  get clients(): Clients {
    return this.#talk.clients
  }

  /** What it tells all who listen. */
  get events(): Events {
    return this.#talk.events
  }

  /** What it shares: a small map that it signs, and keeps in its folder. */
  get state(): State {
    return this.#talk.state
  }

  /** Letters that it writes, and that are written to it. It takes some once this is used. */
  get mail(): Mail {
    return this.#mail.wanted()
  }

  /** The service's public key: its address. Known after `listening`. */
  get publicKey(): Buffer {
    if (!this.#keyPair) throw SeaportError.CLOSED('the service was not set up')
    return this.#keyPair.publicKey
  }

  /** The same in hex. */
  get servicePublicKey(): string {
    return toHex(this.publicKey)
  }

  /** The record as it was last signed. */
  get record(): ServiceRecord | null {
    return this.#registration?.record ?? null
  }

  /** @internal Null before it is set up. */
  get registration(): Registration | null {
    return this.#registration
  }

  /**
   * Resolves once a registrar confirmed the service.
   *
   * @throws REGISTRAR_NOT_FOUND, NOT_GRANTED, KEY_IN_USE, COMMAND_FAILED, PORT_IN_USE, STORAGE_FAILED, CLOSED
   */
  async setup({ timeout }: SetupOptions = {}): Promise<this> {
    this.#timeout = timeout ?? this.#timeout
    await this.#lifecycle.begin()
    return this
  }

  /**
   * Withdraws the service, refuses new streams, lets open ones end for up to `drainTimeout`, and leaves the registry.
   * May be called at any time, and more than once; a `setup()` that is under way is rejected with CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /** Registrars that hold the record, links, streams, checks, and runs of the command, as numbers. */
  getStats() {
    return {
      registrars: this.#registration?.registrars ?? 0,
      ...this.#listeners?.stats,
      health: this.#health.stats,
      ...this.#talk.getStats(),
      mail: this.#mail.getStats(),
      command: this.#origin.supervisor?.stats
    }
  }

  /** The same as measures, for a scrape; each command with its name as a label. */
  *measures(): Iterable<Measure> {
    const { commands, ...stats } = this.getStats()
    yield* measuresOf('service', stats)
    yield* commandMeasures(commands)
  }

  /** Asks consumers to go elsewhere if they can, ahead of a planned end. Nobody is cut or refused. */
  drain() {
    this.#registration?.drain()
  }

  /** Sends a signal to the supervised command, if there is one. */
  sendSignal(signal: NodeJS.Signals) {
    this.#origin.supervisor?.signal(signal)
  }

  async #start() {
    const deadline = performance.now() + this.#timeout
    const { membership, replica } = this.#participant
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    replica.on('rights', this.#onrights)
    const keyPair = this.#keyPair ?? checkKeyPair(await (this.#findKey?.() ?? this.#takeKey()))
    this.#keyPair = keyPair
    membership.addIdentity(keyPair)
    await this.#lifecycle.waitFor(this.#participant.ready(), this.#timeout, () => this.#late())
    await checkAlone(this.#participant.network.dht, this.publicKey, this.#lifecycle.signal)
    const files = new StateFiles(this.#registry, this.role.role, keyPair.publicKey, this.#dir)
    const processKey = this.#participant.keyPair.publicKey
    await this.#lifecycle.unlessDestroyed(this.#talk.open(keyPair, processKey, files))
    await this.#lifecycle.unlessDestroyed(this.#talk.start())
    await this.#lifecycle.unlessDestroyed(this.#mail.start(keyPair))
    await this.#accept(keyPair)
    this.emit('connecting')
    await this.#arrive(keyPair, deadline)
  }

  async #stop() {
    // Withdrawn first; whoever has not heard of that is refused, and goes elsewhere.
    await this.#registration?.close()
    const streams = this.#listeners?.streams ?? 0
    if (streams > 0) this.emit('draining', streams)
    if (this.#listeners?.opened)
      await this.#listeners.drain(this.#terms.drainTimeout ?? DRAIN_TIMEOUT_MS)
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    this.#participant.replica.off('rights', this.#onrights)
    await this.#mail.stopSending()
    await this.#participant.release(async () => this.#listeners?.close())
    await this.#talk.close()
    await this.#mail.close()
    await this.#origin.supervisor?.stop()
    // Only now: whoever takes the key next finds nobody else under it.
    this.#heldKey?.release()
  }

  async #takeKey(): Promise<KeyPair> {
    const identity = { ...this.role, backend: this.#origin.name, name: this.#name }
    this.#heldKey = await takeServiceKey(this.#registry, identity, this.#dir)
    return this.#heldKey.keyPair
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  /** What a mere member says, or a registrar that turns us away unheard, is a notice, and the error when time is over. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    const { role, version } = this.role
    this.#denial = withAdvice(reason, { key: this.publicKey, serve: [`${role}@^${version}`] })
    this.emit(byRegistry ? 'denied' : 'notice', this.#denial)
  }

  #onmoved(key: string) {
    this.emit('moved', key)
    this.drain()
    setTimeout(() => void this.destroy(), STAY_MS).unref()
  }

  readonly #onrights = () => {
    this.#listeners?.recheck()
    this.#talk.recheck()
  }

  /** From now on links are taken. */
  async #accept(keyPair: KeyPair) {
    const listeners = new Listeners({
      network: this.#participant.network,
      keyPair,
      connect: this.#origin.hasBackend
        ? async ({ remotePublicKey }) =>
            this.#origin.take ?? this.#connect({ client: remotePublicKey })
        : undefined,
      authorize: (key, purpose) => this.#admission.authorize(toHex(key), purpose),
      reach: this.#reach,
      directPort: this.#terms.directPort,
      purposes: this.#terms.purposes
    })
    this.#listeners = listeners
    listeners.on('refused', (error: SeaportError) => {
      if (error.code === 'BACKEND_UNREACHABLE') this.#health.suspect()
      this.emit('refused', error)
    })
    listeners.on('notice', this.#onnotice)
    listeners.on('draining', () => this.#talk.leave())
    this.#speak()
    listeners.on('addresses', () => this.#registration?.update({ direct: listeners.addresses }))
    await this.#lifecycle.unlessDestroyed(listeners.ready())
    this.emit('listening')
  }

  /** Takes conversations, once there is something to talk about. */
  #speak() {
    const listeners = this.#listeners
    if (!listeners) return
    const [talks, takesMail] = [this.#talk.listen(listeners), this.#mail.listen(listeners)]
    if (!talks && !takesMail) return
    this.#registration?.update({ speaks: listeners.speaks, ...this.#mail.fields })
  }

  /** Opens the mail that somebody wants, and takes letters. Never rejects. */
  async #takeMail() {
    try {
      if (this.#listeners && this.#keyPair) await this.#mail.start(this.#keyPair)
      this.#speak()
    } catch (error) {
      if (!this.#lifecycle.signal.aborted) this.emit('notice', error as SeaportError)
    }
  }

  /** Takes over before it is registered, if it is to. */
  async #arrive(keyPair: KeyPair, deadline: number) {
    await arrive(this.#takeOver, {
      scope: { registry: toHex(this.#registry), role: this.role.role },
      state: this.#talk.ownState,
      keyPair,
      participant: this.#participant,
      role: this.role,
      dir: this.#dir,
      onnotice: this.#onnotice,
      signal: this.#lifecycle.signal,
      known: (known) =>
        this.#lifecycle.waitFor(known, deadline - performance.now(), () => this.#late()),
      appear: (joining) => this.#appear(keyPair, deadline, joining),
      joined: () => this.#registration?.update({ joining: false })
    })
  }

  /** Into the registry: at once, or with the command that is to be served. */
  async #appear(keyPair: KeyPair, deadline: number, joining: boolean) {
    const registration = new Registration({
      replica: this.#participant.replica,
      ...{ keyPair, health: this.#health, supervisor: this.#origin.supervisor },
      fields: {
        ...{ ...this.role, tags: this.#tags, joining, app: this.#terms.app },
        direct: this.#listeners?.addresses ?? [],
        speaks: this.#listeners?.speaks ?? [],
        ...this.#mail.fields
      }
    })
    this.#registration = registration
    const confirmed = registration.confirmed()
    forward(registration, this, ['registered', 'health', 'lost'])
    registration.on('denied', (error) => this.#ondenied(error, true))
    await this.#lifecycle.unlessDestroyed(registration.start())
    await this.#lifecycle.waitFor(confirmed, deadline - performance.now(), () => this.#late())
  }

  /** Why it is not registered yet. */
  #late(): SeaportError {
    return this.#denial ?? notRegistered(this.#origin.supervisor, this.#participant.network.fault)
  }
}

export interface Service extends ServiceFace {}

/** Makes a service; `new` works as well, and so does `extends`. */
export const Service: Callable<[options: ServiceOptions], Service> = callable(
  'Service',
  ServiceFace
)
