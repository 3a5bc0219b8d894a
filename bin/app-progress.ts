import { SeaportError } from '../lib/identity.js'
import type { AppStatus, Apps } from '../lib/index.js'
import { printable, printableJson } from '../lib/printing.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'
import { table } from './table.js'
import { say } from './talk.js'

type Failure = AppStatus['failures'][number]

const COLUMNS = ['INSTANCE', 'HOST', 'IMAGE', 'CREATED', 'STATUS', 'LATENCY']
/** For how long nothing may change until a command stops waiting: more than an instance has by default until it passes. */
const WAIT_MS = 180_000
const POLL_MS = 1000
/** Of the reason why a host may not start what must never run twice. */
const TOO_FEW_LEASES = 'registrars, and needs'
const FORGET =
  "a registrar that is gone for good is struck off with 'hyperseaport registrars --forget KEY'"

/**
 * Shows what happens where, until it is as it is wanted, or all have gone back. Whoever stops the watching stops nothing
 * else.
 */
export async function settle(
  apps: Apps,
  lifetime: Lifetime,
  name: string,
  settings: Settings,
  done: string
) {
  const json = settings.on('json')
  // The hosts go on then.
  const stop = lifetime.cut()
  let end = performance.now() + WAIT_MS
  const shown = new Set<string>()
  const tell = (text: string) => {
    if (shown.has(text)) return
    if (!json) say(text)
    shown.add(text)
    end = performance.now() + WAIT_MS
  }
  for (;;) {
    const status = await Promise.race([apps.status(name), stop])
    const { passing, wanted, instances, statement, current, failures, isPreparing } = status
    const others = instances.filter(
      ({ hash, state }) => hash !== current.release || state === 'ending'
    )
    const isAtRest = passing >= wanted && others.length === 0 && instances.length <= wanted
    const text = `${name}@${current.version}: ${passing} of ${wanted} pass${others.length > 0 ? `, ${others.length} to end` : ''}`
    for (const one of failures) tell(failureOf(statement, one))
    for (const host of status.preparing) {
      tell(`${name}@${statement.version}: its command before runs on ${host}`)
    }
    tell(text)
    const refused = Object.entries(status.refusals)
    if (passing < wanted && refused.length >= apps.hosts().length) {
      for (const [host, why] of refused) tell(`${host}: ${printable(why)}`)
    }
    if (status.hasFailed && (isAtRest || current.release === statement.release)) {
      throw SeaportError.CHECK_FAILED(verdictOf(status))
    }
    if ((isAtRest && !isPreparing) || settings.on('noWait')) {
      if (json) return console.log(printableJson(status, 2))
      return console.log(`${done} ${name}@${statement.version}`)
    }
    if (performance.now() > end) {
      const reasons = instances.flatMap(({ hostName, reason }) =>
        reason ? [`${hostName}: ${reason}`] : []
      )
      const why = [...reasons, ...refused.map(([host, text]) => `${host}: ${printable(text)}`)]
      throw SeaportError.CHECK_FAILED(
        `${text}; what ran before goes on. ${why.join('; ') || 'No host said why'}. 'hyperseaport app status ${name}' shows how it goes on`
      )
    }
    await Promise.race([changed(apps), stop])
  }
}

function failureOf({ app, version }: AppStatus['statement'], { hostName, why }: Failure): string {
  return `${app}@${version} failed on ${hostName}: ${printable(why.replaceAll('\n', '; '))}`
}

/** What became of a release that was given up. */
function verdictOf({ statement, current, failures, mayRun }: AppStatus): string {
  const reasons = failures.map((one) => failureOf(statement, one)).join('. ')
  return current.release === statement.release
    ? `${reasons}. There is no release before it to go back to, so ${mayRun ? 'it is tried on' : 'nothing runs'}`
    : `${reasons}. All went back to ${statement.app}@${current.version}`
}

/** Until no host runs anything of an app. Hosts that do not answer end it when they are back. */
export async function settleRemoved(apps: Apps, lifetime: Lifetime, name: string) {
  const end = performance.now() + WAIT_MS
  // The hosts go on then.
  const stop = lifetime.cut()
  let shown = ''
  for (;;) {
    const { instances, silent } = await Promise.race([apps.running(name), stop])
    const rest = instances.length === 0 ? '' : `${name}: ${instances.length} to end`
    const absent =
      silent.length === 0 ? '' : `no answer, and ends it when it is back: ${silent.join(', ')}`
    const text = [rest, absent].filter(Boolean).join('; ')
    if (text !== shown && text !== '') say(text)
    shown = text
    if (instances.length === 0) return
    if (performance.now() > end) {
      throw SeaportError.CHECK_FAILED(`${text}. It is removed, and its hosts go on to end it`)
    }
    await Promise.race([changed(apps), stop])
  }
}

/** Until something may have changed, or a second has passed. */
export function changed(apps: Apps): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, POLL_MS)
    const stop = apps.watch(done)
    function done() {
      clearTimeout(timer)
      stop()
      resolve()
    }
  })
}

/** What an app does, as people read it. */
export function textOf(status: AppStatus): string {
  const { statement, instances, passing, wanted, silent, refusals, failures } = status
  const { app, version, state } = statement
  const rows = instances.map((one) => [
    `${one.app}/${one.slot}`,
    one.hostName,
    `${one.app}@${one.version}`,
    new Date(one.createdAt).toISOString(),
    one.state,
    one.latency === null ? '-' : `${one.latency.toFixed(1)} ms`
  ])
  const reasons = instances.flatMap(({ hostName, slot, reason }) =>
    reason ? [`${hostName}/${slot}: ${printable(reason)}`] : []
  )
  const missing =
    passing < wanted
      ? Object.entries(refusals).map(([host, why]) => `${host}: ${printable(why)}`)
      : []
  return [
    `${app}@${version} ${state}: ${passing} of ${wanted} pass`,
    ...failures.map((one) => failureOf(statement, one)),
    ...status.preparing.map((host) => `${app}@${version}: its command before runs on ${host}`),
    ...(status.hasFailed && status.current.version !== version
      ? [`running instead: ${app}@${status.current.version}`]
      : []),
    ...(rows.length > 0 ? [table([COLUMNS, ...rows])] : []),
    ...reasons,
    ...missing,
    ...(missing.some((text) => text.includes(TOO_FEW_LEASES)) ? [FORGET] : []),
    ...(silent.length > 0 ? [`no answer: ${silent.join(', ')}`] : [])
  ].join('\n')
}
