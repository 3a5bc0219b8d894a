import type { Executed } from './executed.js'
import { printable, printableLines } from './printable.js'

/** What is read of a text that came over the wire, in characters. */
const MAX_REMOTE_TEXT = 500
const CODE = /^[A-Z][A-Z_]{1,39}$/

/**
 * Every failure a caller may want to tell apart: `err.code` is stable, the text is for people and says
 * what to do next. One static factory per code, so that the list below is the list of codes.
 */
export class SeaportError extends Error {
  /** What it is, for programs: one of the codes below. It does not change between versions. */
  readonly code: SeaportErrorCode
  /** Of a command that failed: whether it may have been executed. */
  declare readonly executed?: Executed
  /** Of a command whose handler threw: the code of what it threw. */
  declare readonly handlerCode?: string

  private constructor(code: SeaportErrorCode, text: string, options?: { cause?: unknown }) {
    // A text may quote what others sent.
    super(`${code}: ${printableLines(text)}`, options)
    this.name = 'SeaportError'
    this.code = code
  }

  /** The text without its code. */
  get text(): string {
    return this.message.slice(this.code.length + 2)
  }

  /**
   * The same with what is known of a command that failed. An error may be told to many callers, so each has its own.
   *
   * @param handlerCode the code of what the handler threw
   */
  withExecuted(executed: Executed, handlerCode?: string): SeaportError {
    const error = new SeaportError(this.code, this.text, { cause: this.cause })
    return Object.assign(error, { executed }, handlerCode && { handlerCode })
  }

  // What a caller got wrong.

  /** An option is missing, or has a value of the wrong kind. */
  static USAGE(text: string) {
    return new SeaportError('USAGE', text)
  }

  /** A key or seed that is not 32 bytes of hex or z-base-32. */
  static BAD_KEY(text: string) {
    return new SeaportError('BAD_KEY', text)
  }

  /** A role, version or range that cannot be read, or an inexact version where an exact one is needed. */
  static BAD_ROLE(text: string) {
    return new SeaportError('BAD_ROLE', text)
  }

  /** An installed dependency, or Node, lacks what we use of it. */
  static UNSUPPORTED_DEPENDENCY(text: string) {
    return new SeaportError('UNSUPPORTED_DEPENDENCY', text)
  }

  /** A configuration file that cannot be read. */
  static BAD_CONFIG(text: string, cause?: unknown) {
    return new SeaportError('BAD_CONFIG', text, { cause })
  }

  // What the machine would not give.

  /** The public DHT was asked for while `HYPERSEAPORT_OFFLINE=1`. */
  static OFFLINE(text: string) {
    return new SeaportError('OFFLINE', text)
  }

  /** A local port that something else listens on, or that may not be bound. */
  static PORT_IN_USE(text: string, cause?: unknown) {
    return new SeaportError('PORT_IN_USE', text, { cause })
  }

  /** A local address that cannot be listened on for another reason than its being taken. */
  static LISTEN_FAILED(text: string, cause?: unknown) {
    return new SeaportError('LISTEN_FAILED', text, { cause })
  }

  /** A data folder that another process has open. */
  static STORAGE_LOCKED(text: string, cause?: unknown) {
    return new SeaportError('STORAGE_LOCKED', text, { cause })
  }

  /** A data folder that cannot be opened, read or written. */
  static STORAGE_FAILED(text: string, cause?: unknown) {
    return new SeaportError('STORAGE_FAILED', text, { cause })
  }

  /** A disk that has no room for what is to be written, beside what is to stay free. */
  static DISK_FULL(text: string) {
    return new SeaportError('DISK_FULL', text)
  }

  /** Files of an app, or a part of them, that are not what their hash says, or break the rules of bundles. */
  static BAD_BUNDLE(text: string, cause?: unknown) {
    return new SeaportError('BAD_BUNDLE', text, { cause })
  }

  // What the network answered, or did not.

  /** No node of the DHT answers, so nobody can be found. */
  static DHT_UNREACHABLE(text: string) {
    return new SeaportError('DHT_UNREACHABLE', text)
  }

  /** No registrar confirmed in time. */
  static REGISTRAR_NOT_FOUND(text: string, cause?: unknown) {
    return new SeaportError('REGISTRAR_NOT_FOUND', text, { cause })
  }

  /** Neither a registrar nor any replica of the registry, on the network or on disk, in time. */
  static REGISTRY_NOT_FOUND(text: string, cause?: unknown) {
    return new SeaportError('REGISTRY_NOT_FOUND', text, { cause })
  }

  /** Nobody serves what was asked for. */
  static NO_INSTANCE(text: string, cause?: unknown) {
    return new SeaportError('NO_INSTANCE', text, { cause })
  }

  /** Another live process holds the lease of this service key. */
  static KEY_IN_USE(text: string) {
    return new SeaportError('KEY_IN_USE', text)
  }

  /** A message whose proof or signature does not hold. */
  static BAD_SIGNATURE(text: string) {
    return new SeaportError('BAD_SIGNATURE', text)
  }

  /** A record older than one already known. */
  static STALE_RECORD(text: string) {
    return new SeaportError('STALE_RECORD', text)
  }

  /** A statement of a kind that the registrar does not know. */
  static UNKNOWN_KIND(text: string) {
    return new SeaportError('UNKNOWN_KIND', text)
  }

  /** A statement that does not follow on the one that is known: somebody else was quicker. */
  static CONFLICT(text: string) {
    return new SeaportError('CONFLICT', text)
  }

  /** A hostname that another app answers for. */
  static HOSTNAME_TAKEN(text: string) {
    return new SeaportError('HOSTNAME_TAKEN', text)
  }

  /** A statement that is dated more than a day ahead. */
  static BAD_DATE(text: string) {
    return new SeaportError('BAD_DATE', text)
  }

  /** A registrar that was not told whether its registry, which was private, is to stay so. */
  static PRIVATE_REGISTRY(text: string) {
    return new SeaportError('PRIVATE_REGISTRY', text)
  }

  /** A record, certificate or frame that breaks its own rules. */
  static BAD_MESSAGE(text: string, cause?: unknown) {
    return new SeaportError('BAD_MESSAGE', text, { cause })
  }

  /** More than one key or address may take: connections, services or messages. */
  static LIMIT_REACHED(text: string) {
    return new SeaportError('LIMIT_REACHED', text)
  }

  /** The other side does not know this registry's public key, or says that we do not. */
  static NOT_A_MEMBER(text: string) {
    return new SeaportError('NOT_A_MEMBER', text)
  }

  /** A private registry in which this key has no grant for what it asked. */
  static NOT_GRANTED(text: string) {
    return new SeaportError('NOT_GRANTED', text)
  }

  /** The service's own backend refused the connection or cannot be reached. */
  static BACKEND_UNREACHABLE(text: string, cause?: unknown) {
    return new SeaportError('BACKEND_UNREACHABLE', text, { cause })
  }

  /** The service's own backend takes connections, and does not do its work. */
  static CHECK_FAILED(text: string, cause?: unknown) {
    return new SeaportError('CHECK_FAILED', text, { cause })
  }

  /**
   * The command of a supervised service cannot be started, or does not listen; or the handler of a command that was
   * sent threw.
   */
  static COMMAND_FAILED(text: string, cause?: unknown) {
    return new SeaportError('COMMAND_FAILED', text, { cause })
  }

  /** The acceptor does not let this key in. */
  static NOT_ALLOWED(text: string) {
    return new SeaportError('NOT_ALLOWED', text)
  }

  /** The acceptor is at its limit, or on its way out. */
  static REFUSED(text: string) {
    return new SeaportError('REFUSED', text)
  }

  /** An instance did not answer an open in time. */
  static OPEN_TIMEOUT(text: string) {
    return new SeaportError('OPEN_TIMEOUT', text)
  }

  /** The link under a stream broke, or could not be made. */
  static LINK_LOST(text: string, cause?: unknown) {
    return new SeaportError('LINK_LOST', text, { cause })
  }

  /** The other end cut the stream. */
  static STREAM_RESET(text: string, cause?: unknown) {
    return new SeaportError('STREAM_RESET', text, { cause })
  }

  /** The object was destroyed while this was under way. */
  static CLOSED(text: string) {
    return new SeaportError('CLOSED', text)
  }

  // What becomes of a command that was sent.

  /** The instance has no command of this name. */
  static UNKNOWN_COMMAND(text: string) {
    return new SeaportError('UNKNOWN_COMMAND', text)
  }

  /** What was sent with a command is not what it takes. */
  static BAD_INPUT(text: string, cause?: unknown) {
    return new SeaportError('BAD_INPUT', text, { cause })
  }

  /** A handler's answer is not what its command gives, or cannot be sent. */
  static BAD_OUTPUT(text: string, cause?: unknown) {
    return new SeaportError('BAD_OUTPUT', text, { cause })
  }

  /** All that may run and wait at a time does. */
  static BUSY(text: string) {
    return new SeaportError('BUSY', text)
  }

  /** The caller's time was over before the answer came. */
  static DEADLINE(text: string) {
    return new SeaportError('DEADLINE', text)
  }

  /** The caller gave up before the answer came. */
  static CANCELLED(text: string, cause?: unknown) {
    return new SeaportError('CANCELLED', text, { cause })
  }

  // What becomes of a letter.

  /** So many letters wait to be sent that no more are taken. */
  static OUTBOX_FULL(text: string) {
    return new SeaportError('OUTBOX_FULL', text)
  }

  /** The receiver has so many letters that it takes no more. */
  static INBOX_FULL(text: string) {
    return new SeaportError('INBOX_FULL', text)
  }

  /** Nobody keeps letters for who is away. */
  static NO_MAILBOX(text: string) {
    return new SeaportError('NO_MAILBOX', text)
  }

  /** The receiver cannot open what was sealed to it. */
  static UNREADABLE(text: string) {
    return new SeaportError('UNREADABLE', text)
  }

  /** The receiver's handler threw each time that it was given the letter. */
  static HANDLER_FAILED(text: string) {
    return new SeaportError('HANDLER_FAILED', text)
  }

  /** A letter was not delivered as long as it was of use. */
  static EXPIRED(text: string) {
    return new SeaportError('EXPIRED', text)
  }

  /** Whoever wrote a letter took it back. */
  static RECALLED(text: string) {
    return new SeaportError('RECALLED', text)
  }

  // What the gateway answers.

  /** A request that cannot be read, or must not be passed on (400). */
  static BAD_REQUEST(text: string) {
    return new SeaportError('BAD_REQUEST', text)
  }

  /** Nobody said who asks, or it was not believed (401). */
  static UNAUTHORIZED(text: string) {
    return new SeaportError('UNAUTHORIZED', text)
  }

  /** Too many wrong passwords for one name came from one address (429). */
  static TOO_MANY_GUESSES(text: string) {
    return new SeaportError('TOO_MANY_GUESSES', text)
  }

  /** Whoever asks may not reach this (403). */
  static FORBIDDEN(text: string) {
    return new SeaportError('FORBIDDEN', text)
  }

  /** A role, instance, domain or page that there is none of (404). */
  static NOT_FOUND(text: string) {
    return new SeaportError('NOT_FOUND', text)
  }

  /** A page of the gateway's own cannot be asked that (405). */
  static METHOD_NOT_ALLOWED(text: string) {
    return new SeaportError('METHOD_NOT_ALLOWED', text)
  }

  /** More bytes than a request (413), a command or its answer may have. */
  static TOO_LARGE(text: string) {
    return new SeaportError('TOO_LARGE', text)
  }

  /** A transfer coding that is not understood (501). */
  static NOT_IMPLEMENTED(text: string) {
    return new SeaportError('NOT_IMPLEMENTED', text)
  }

  /** An instance broke off, or its answer is not HTTP (502). */
  static BAD_GATEWAY(text: string, cause?: unknown) {
    return new SeaportError('BAD_GATEWAY', text, { cause })
  }

  /** An instance did not begin to answer in time (504). */
  static TOO_SLOW(text: string) {
    return new SeaportError('TOO_SLOW', text)
  }

  /** A request came back to the gateway that had passed it on (508). */
  static LOOP(text: string) {
    return new SeaportError('LOOP', text)
  }

  /** The other side, which may be newer, answered with a code that this version does not know; the text has it. */
  static UNKNOWN_CODE(text: string) {
    return new SeaportError('UNKNOWN_CODE', text)
  }

  /** An error of this kind as it came over the wire: a code we may not know, and a text. */
  static remote(code: string, text: string) {
    const shown = printable(text.slice(0, MAX_REMOTE_TEXT))
    if (isSeaportErrorCode(code)) return new SeaportError(code, shown)
    if (!CODE.test(code)) return new SeaportError('BAD_MESSAGE', shown)
    return new SeaportError('UNKNOWN_CODE', `${code}: ${shown}`)
  }
}

/** What `code` can be: the names of the factories above. */
export type SeaportErrorCode = Extract<keyof typeof SeaportError, Uppercase<string>>

/** Whether this version knows a code. */
export function isSeaportErrorCode(code: string): code is SeaportErrorCode {
  return CODE.test(code) && Object.hasOwn(SeaportError, code)
}
