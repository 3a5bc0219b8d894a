import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { LOOPBACK } from '../core/listen.js'
import type { StreamTaker } from '../link/acceptor.js'
import { type Backend, connectBackend, localBackend, parseBackend } from './backend.js'
import { type StreamServer, serve } from './in-process.js'
import { Supervisor } from './supervisor.js'

/** The options for what stands behind a service: one of these kinds. */
export type OriginOptions =
  | PortOrigin
  | TargetOrigin
  | CommandOrigin
  | ServerOrigin
  | SpeakingOrigin
  | ProgramOrigin

/** A backend on this machine. */
export interface PortOrigin {
  /** TCP port of the backend on loopback. */
  port: number
  target?: undefined
  command?: undefined
  server?: undefined
  output?: undefined
}

/** A backend elsewhere. */
export interface TargetOrigin {
  /** The backend elsewhere: `host:port`. */
  target: string
  port?: undefined
  command?: undefined
  server?: undefined
  output?: undefined
}

/** A program that is kept running. */
export interface CommandOrigin {
  /** A program and its arguments, to be kept running. It finds its port in `PORT`. */
  command: readonly string[]
  /** The port that the command is to listen on. Default: 0, which finds a free one. */
  port?: number | undefined
  /** Where the command's output goes. Default: `ignore`. */
  output?: 'inherit' | 'ignore' | undefined
  target?: undefined
  server?: undefined
}

/** A server in this process. */
export interface ServerOrigin {
  /**
   * An `http.Server`, or another server that takes streams by the event `connection`, in this process. It need not
   * listen on a port. Its health is not checked.
   */
  server: StreamServer
  /** A server in this process is not checked. */
  check?: 'none' | undefined
  port?: undefined
  target?: undefined
  command?: undefined
  output?: undefined
}

/** No backend: all that the service does it does by commands and events. */
export interface SpeakingOrigin {
  /** Commands by name, perhaps none yet. */
  commands: object
  stdio?: undefined
  port?: undefined
  target?: undefined
  command?: undefined
  server?: undefined
  output?: undefined
}

/** No backend: a program executes the commands. */
export interface ProgramOrigin {
  /** The program and its arguments. It speaks JSON-RPC 2.0 by its standard input and output, a line each. */
  stdio: readonly string[]
  commands?: undefined
  port?: undefined
  target?: undefined
  command?: undefined
  server?: undefined
  output?: undefined
}

/** What stands behind a service. */
export interface Origin {
  /** Distinguishes it from others on this machine: a service keeps one key for each name. */
  readonly name: string
  /** Keeps the backend running; null if it is not ours to run. */
  readonly supervisor: Supervisor | null
  /** Whether it takes streams of bytes. */
  readonly hasBackend: boolean
  /** @throws BACKEND_UNREACHABLE, or the signal's reason */
  connect(options?: { signal?: Signal }): Promise<Duplex>
  /** Takes streams within this process; null if they are connected to a backend. */
  readonly take: StreamTaker | null
}

/**
 * The origin that options describe.
 *
 * @throws USAGE
 */
export function originOf({
  port,
  target,
  command,
  output,
  server,
  ...others
}: OriginOptions): Origin {
  const isElsewhere = server || command || target !== undefined || port !== undefined
  if (!isElsewhere && 'stdio' in others && others.stdio) return speakingOrigin(others.stdio)
  if (!isElsewhere && 'commands' in others && others.commands) return speakingOrigin()
  if (server) {
    if (command || target !== undefined || port !== undefined) {
      throw SeaportError.USAGE('a server stands in for port, target and command: give one of them')
    }
    return serverOrigin(server)
  }
  if (!command) return tcpOrigin(parseBackend(target ?? port))
  if (target !== undefined) {
    throw SeaportError.USAGE('a command runs on this machine: give it a port, not a target')
  }
  if (port) parseBackend(port)
  const supervisor = new Supervisor({ command, port, output })
  return {
    name: port ? `${LOOPBACK}:${port}` : supervisor.name,
    supervisor,
    take: null,
    hasBackend: true,
    connect: (options) => connectBackend(localBackend(supervisor.port), options)
  }
}

function tcpOrigin(backend: Backend): Origin {
  return {
    name: `${backend.host}:${backend.port}`,
    supervisor: null,
    take: null,
    hasBackend: true,
    connect: (options) => connectBackend(backend, options)
  }
}

function serverOrigin(server: StreamServer): Origin {
  return {
    name: 'in process',
    supervisor: null,
    take: (stream, remotePublicKey) => serve(server, stream, remotePublicKey),
    hasBackend: true,
    async connect() {
      throw SeaportError.BACKEND_UNREACHABLE('a server in this process is not connected to')
    }
  }
}

/** An origin without a backend: the service speaks by commands and events alone. */
function speakingOrigin(program: readonly string[] = ['commands']): Origin {
  return {
    name: program.join(' '),
    supervisor: null,
    take: null,
    hasBackend: false,
    async connect() {
      throw SeaportError.BACKEND_UNREACHABLE('the service has no backend')
    }
  }
}
