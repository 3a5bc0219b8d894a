import { SeaportError } from '../core/errors.js'
import { ChunkExchange, type ChunkExchangeOptions } from './chunks/chunk-exchange.js'
import type { KnownHost } from './fleet.js'
import { encodeRelease, type Release } from './release.js'

export interface SpreadOptions extends ChunkExchangeOptions {
  hosts: readonly KnownHost[]
  /** Asks a host, by its key, to fetch a release, by its hash. */
  send: (host: string, hash: string) => Promise<unknown>
}

/** Once this many hosts have a bundle, its deployer is not needed any more. */
const ENOUGH_HOSTS = 2

/**
 * Asks hosts to fetch a release from us. They fetch it from each other as well, so that each chunk leaves us only once.
 *
 * @returns the hosts that have all of it: two, or the only one. The others go on fetching it from these
 * @throws NO_INSTANCE, or the error of the last host
 */
export async function spreadRelease(
  { hosts, send, ...options }: SpreadOptions,
  release: Release,
  onprogress: (text: string) => void
): Promise<{ hash: string; hosts: KnownHost[] }> {
  const { bytes, hash } = encodeRelease(release)
  await options.store.write(bytes)
  const usable = hosts.filter(({ isStale, isDraining }) => !isStale && !isDraining)
  const enough = Math.min(ENOUGH_HOSTS, usable.length)
  const exchange = new ChunkExchange(options)
  const fetched: KnownHost[] = []
  let reason: unknown = noHost()
  const fetchOn = async (host: KnownHost) => {
    try {
      await exchange.join(host.host)
      await send(host.host, hash)
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
    exchange.close()
  }
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
