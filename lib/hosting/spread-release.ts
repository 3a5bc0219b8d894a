import { SeaportError } from '../core/errors.js'
import { ChunkExchange, type ChunkExchangeOptions } from './chunks/chunk-exchange.js'
import type { KnownHost } from './fleet.js'
import { encodeRelease, type Release } from './release.js'

export interface SpreadOptions extends ChunkExchangeOptions {
  hosts: readonly KnownHost[]
  /** Asks a host, by its key, to fetch a release, by its hash, until the signal is aborted. */
  send: (host: string, hash: string, signal: AbortSignal) => Promise<unknown>
  /** How long nothing of it may leave us until it is given up, in ms. */
  patience?: number
}

const PATIENCE_MS = 600_000
/** How often it is looked for progress in that time. */
const LOOKS = 20

/** Once this many hosts have a bundle, its deployer is not needed any more. */
const ENOUGH_HOSTS = 2

/**
 * Asks hosts to fetch a release from us. They fetch it from each other as well, so that each chunk leaves us only once.
 * However long that takes, it goes on while it makes progress.
 *
 * @returns the hosts that have all of it: two, or the only one. The others go on fetching it from these
 * @throws NO_INSTANCE, DEADLINE, or the error of the last host
 */
export async function spreadRelease(
  { hosts, send, patience = PATIENCE_MS, ...options }: SpreadOptions,
  release: Release,
  onprogress: (text: string) => void
): Promise<{ hash: string; hosts: KnownHost[] }> {
  const { bytes, hash } = encodeRelease(release)
  await options.store.write(bytes)
  const usable = hosts.filter(({ isStale, isDraining }) => !isStale && !isDraining)
  const enough = Math.min(ENOUGH_HOSTS, usable.length)
  const exchange = new ChunkExchange(options)
  const stalled = new AbortController()
  const watch = watchOver(exchange, patience, () => stalled.abort(noProgress(patience)))
  const fetched: KnownHost[] = []
  let reason: unknown = noHost()
  const fetchOn = async (host: KnownHost) => {
    try {
      await exchange.join(host.host)
      await send(host.host, hash, stalled.signal)
      fetched.push(host)
      onprogress(`${host.name} has ${release.app}@${release.version}`)
    } catch (error) {
      reason = ofHost(error as SeaportError)
      if (fetched.length < enough) onprogress(`${host.name}: ${(reason as Error).message}`)
    }
  }
  try {
    const all = usable.map(fetchOn)
    await new Promise<void>((resolve) => {
      const check = () => fetched.length >= enough && resolve()
      for (const one of all) void one.then(check)
      void Promise.all(all).then(() => resolve())
    })
    if (fetched.length === 0) throw reason
    return { hash, hosts: [...fetched] }
  } finally {
    clearInterval(watch)
    exchange.close()
  }
}

/** Calls back when nothing was given for a time. */
function watchOver(exchange: ChunkExchange, patience: number, onstalled: () => void) {
  let given = 0
  let since = performance.now()
  return setInterval(() => {
    const { sentBytes } = exchange.stats
    if (sentBytes !== given) since = performance.now()
    given = sentBytes
    if (performance.now() - since >= patience) onstalled()
  }, patience / LOOKS)
}

function noProgress(patience: number): SeaportError {
  return SeaportError.DEADLINE(`a push that made no progress for ${patience / 1000} s is given up`)
}

/** The error that the host's own handler has thrown, out of the one that reports it. */
export function ofHost(error: SeaportError): SeaportError {
  const { handlerCode, text } = error
  return handlerCode ? SeaportError.remote(handlerCode, text.replace(/^([A-Z_]+: )+/, '')) : error
}

export function noHost(): SeaportError {
  return SeaportError.NO_INSTANCE(
    "there is no host that may run apps: run 'hyperseaport host' somewhere, and 'hyperseaport grant KEY --host' with its key"
  )
}
