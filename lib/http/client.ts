import type { Agent } from 'node:http'
import type { Dialer } from '../dialing/dialer.js'
import type { LinkPool } from '../link/pool.js'
import type { Directory } from '../registry/replica/directory.js'
import { StreamAgent } from './agent.js'
import { type Fetch, fetchOver } from './fetch.js'
import { isIdempotent } from './idempotent.js'
import { welcomedBy } from './idle-streams.js'
import { KeptStreams } from './kept-streams.js'

export interface StreamClientOptions {
  dialer: Dialer
  pool: Pick<LinkPool, 'open'>
  directory: Pick<Directory, 'watch' | 'statusOf'>
  /** The Host field of requests for which a caller gives only a path. */
  host: string
}

/** HTTP to the instances of a role over streams, without a local port. */
export class StreamClient {
  /** For `http.request` and whatever takes an agent. An instance is chosen for each request. */
  readonly agent: Agent

  readonly #kept: KeptStreams
  readonly #stopWatching: () => void

  constructor({ dialer, pool, directory, host }: StreamClientOptions) {
    const kept = new KeptStreams({ pool, isWelcome: welcomedBy(directory) })
    this.#kept = kept
    this.#stopWatching = directory.watch(kept.forget)
    this.agent = new StreamAgent({
      // A request that must not be sent twice goes over a new stream, because a kept one may just be closing.
      dial: ({ signal, method }) =>
        dialer.dial({ signal, open: isIdempotent(method) ? kept.open : kept.openFresh })
    })
    this.fetch = fetchOver(this.agent, host)
  }

  /**
   * The standard's `fetch`, to a path or a URL whose host counts only for the Host field. A redirect that leads away from
   * the service is not followed.
   *
   * @throws TypeError whose `cause` is the error that broke the exchange (for instance NO_INSTANCE, with what each
   *   instance answered) and whose `code` is that error's; or the signal's reason
   */
  readonly fetch: Fetch

  /** Gives up the streams that are not in use. */
  close() {
    this.#stopWatching()
    this.#kept.close()
  }
}
