import type { SeaportError } from './core/errors.js'
import type { KeyPair } from './core/keys.js'
import type { TakeOverFrom } from './hot-swap.js'
import type { PurposeHandler } from './link/acceptor.js'
import type { DirectReach } from './link/direct/address.js'
import type { MailOptions } from './messaging/mail/mail-options.js'
import type { TalkOptions } from './messaging/talk.js'
import type { MemberOptions } from './registry/replica/participant.js'
import type { InstanceProof, ServiceRecord } from './registry/trust/signed.js'
import type { CheckOptions, Health } from './serving/health.js'
import type { OriginOptions } from './serving/origin.js'
import type { ProxyProtocol } from './serving/proxy-protocol.js'
import type { Exit } from './serving/supervisor.js'

/** What a service is told, beside what stands behind it. */
export interface ServiceTerms extends MemberOptions, CheckOptions, TalkOptions {
  /** Name and exact version, as in `couchdb@3.2.2`. */
  role: string
  /** The service's identity, or what finds it. Default: one that is kept per data folder, role, backend and `name`. */
  keyPair?: KeyPair | (() => Promise<KeyPair>) | undefined
  /**
   * Which of several instances of one role and backend this is, where they run on one machine. Each name has a
   * key of its own, which stays the same across versions. Default: `1`, or the first number that no running
   * process has.
   */
  name?: string | undefined
  /** Words that it is listed with. */
  tags?: string[] | undefined
  /** Process keys of the only consumers that may connect. Default: all. */
  allow?: (Buffer | string)[] | undefined
  /**
   * Tell the backend who comes: each connection to it begins with a header of the PROXY protocol, which it has to
   * expect. A consumer's address in it is `fd` and the first 15 bytes of its key. Default: it is told nothing, and sees
   * this machine.
   */
  proxyProtocol?: ProxyProtocol | undefined
  /**
   * Whether consumers may come by TCP, and from where: `lan`, the default, from this machine and private
   * networks; `any`, from public ones too. On loopback alone if the DHT node is.
   */
  direct?: DirectReach | undefined
  /** TCP port for that. Default: free ones. */
  directPort?: number | undefined
  /** @internal What says that it is an instance of an app, signed by the host. */
  app?: InstanceProof | undefined
  /** @internal Who takes streams of other purposes. */
  purposes?: Record<string, PurposeHandler> | undefined
  /** How long `setup()` waits for a registrar, in ms; Infinity to wait on. */
  timeout?: number | undefined
  /** What of others' letters it takes, and how it sends its own, once `service.mail` is used. */
  mail?: MailOptions | undefined
  /** What its folder in the user's data folder is called. Default: `service`. */
  verb?: string | undefined
  /**
   * How long `destroy()` lets open streams go on, in ms, after it has withdrawn the service and refuses
   * new ones. Default: 30 s.
   */
  drainTimeout?: number | undefined
  /**
   * Takes over from the instance that runs: its state, its place, and then it leaves. True for whichever runs, or a key.
   * If that one is dead, it goes on with the state that is left, in this folder or with who watched.
   */
  takeOver?: TakeOverFrom | undefined
}

/** What a service is told. One of `port`, `target`, `command`, `server` and `commands` is needed. */
export type ServiceOptions = ServiceTerms & OriginOptions

/** What a service emits. */
export interface ServiceEvents {
  /** Links are accepted, and `servicePublicKey` is known. */
  listening: []
  /** A registrar is looked for. */
  connecting: []
  /** A registrar confirmed the record; again after it was lost, and with each change. */
  registered: [record: ServiceRecord]
  /** No registrar holds the record any more; the service goes on trying. */
  lost: []
  /** What the record says of the backend from now on, and what was wrong, if anything was. */
  health: [health: Health, reason: SeaportError | null]
  /** The supervised command listens. */
  up: [port: number]
  /** The supervised command ended, and starts again. */
  exit: [exit: Exit]
  /** The registry does not let us in. */
  denied: [reason: SeaportError]
  /** A stream that the backend did not take. */
  refused: [reason: SeaportError]
  /** It is withdrawn, and waits for so many streams to end. */
  draining: [streams: number]
  /** Another instance has taken over; this one leaves. */
  moved: [to: string]
  /** Something that may need a person's attention; the service goes on. */
  notice: [notice: SeaportError]
}
