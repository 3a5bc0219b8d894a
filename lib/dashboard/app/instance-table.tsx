import { useRef, useState } from 'preact/hooks'
import type { Feed, Instance } from './feed.js'
import { age, bytes, ms, short, shortKey } from './format.js'
import { HEALTH_WORDS, healthOf } from './services.js'

const ROW_PX = 38
const MAX_HEIGHT_PX = 640
const OVERSCAN = 8
/** One is for operators only. */
const COLUMNS = 10
/** HyperDHT relays only what it is asked to (`relayThrough`), which nothing here does. */
const PATHS: Record<string, string> = { direct: 'direct', dht: 'UDX', relayed: 'relayed' }

/** Instances, of which only those in sight are in the document: there may be thousands. */
export function InstanceTable({ feed, instances }: { feed: Feed; instances: readonly Instance[] }) {
  const scroller = useRef<HTMLElement>(null)
  const [top, setTop] = useState(0)
  const first = Math.max(0, Math.floor(top / ROW_PX) - OVERSCAN)
  const last = Math.min(instances.length, first + Math.ceil(MAX_HEIGHT_PX / ROW_PX) + 2 * OVERSCAN)
  const now = Date.now()
  return (
    <section
      class="scroller"
      ref={scroller}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      tabIndex={0}
      aria-label={`${instances.length} instances`}
      onScroll={() => setTop(scroller.current?.scrollTop ?? 0)}
    >
      <table aria-rowcount={instances.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col">Instance</th>
            <th scope="col">Version</th>
            <th scope="col">Health</th>
            <th scope="col" class="number">
              Age
            </th>
            {feed.registry !== '' && <th scope="col">Registrar</th>}
            <th scope="col">Path</th>
            <th scope="col" class="number">
              Requests/s
            </th>
            <th scope="col" class="number">
              Traffic/s
            </th>
            <th scope="col" class="number">
              p50
            </th>
            <th scope="col" class="number">
              p99
            </th>
          </tr>
        </thead>
        <tbody>
          <Gap rows={first} />
          {instances.slice(first, last).map((instance, i) => (
            <Row
              key={instance.key}
              feed={feed}
              instance={instance}
              now={now}
              index={first + i + 2}
            />
          ))}
          <Gap rows={instances.length - last} />
        </tbody>
      </table>
    </section>
  )
}

/** Stands in for rows that are out of sight. */
function Gap({ rows }: { rows: number }) {
  if (rows === 0) return null
  return (
    <tr class="gap">
      <td colSpan={COLUMNS} style={{ height: `${rows * ROW_PX}px` }} />
    </tr>
  )
}

interface RowProps {
  feed: Feed
  instance: Instance
  now: number
  index: number
}

function Row({ feed, instance, now, index }: RowProps) {
  const { key, version, live, tags, reason, seq } = instance
  const health = healthOf(instance)
  const path = feed.paths[key]
  const registrar = feed.registrarOf(key)
  const sample = feed.now(key)
  return (
    <tr aria-rowindex={index}>
      <th scope="row">
        <a class="key" href={`/instance/${key}/`} title={key}>
          {shortKey(key)}
        </a>
        {tags.map((tag) => (
          <span key={tag} class="tag">
            {tag}
          </span>
        ))}
      </th>
      <td>{version}</td>
      <td title={HEALTH_WORDS[health]}>
        <span class={`health ${health}`}>{health}</span>
        {reason && <span class="reason">{reason}</span>}
      </td>
      <td class="number">{age(seq, now)}</td>
      {feed.registry !== '' && (
        <td>
          {registrar ? (
            <code title={registrar.registrarKey}>{shortKey(registrar.registrarKey)}</code>
          ) : (
            '…'
          )}
          {live ? '' : ' (gone)'}
        </td>
      )}
      <td>{path ? `${PATHS[path.kind] ?? path.kind} ${ms(path.rtt ?? 0)}` : 'no link yet'}</td>
      <td class="number">{short(sample.requests)}</td>
      <td class="number">{bytes(sample.bytes)}</td>
      <td class="number">{ms(sample.p50)}</td>
      <td class="number">{ms(sample.p99)}</td>
    </tr>
  )
}
