import { Chart } from './chart.js'
import type { Feed, Sample } from './feed.js'
import { age, bytes, ms, short, shortKey } from './format.js'
import { Apps, Hosts } from './hosted.js'
import { ServiceMap } from './map.js'
import { Panel } from './panel.js'
import { healthOf, type Service } from './services.js'

const MAX_DOTS = 24

/** Everything at a glance. */
export function Overview({ feed, services }: { feed: Feed; services: Service[] }) {
  return (
    <>
      <Charts feed={feed} of="" />
      <div class="columns">
        <Panel id="services" title="Services">
          {services.length > 0 ? (
            <Services feed={feed} services={services} />
          ) : (
            <Empty feed={feed} />
          )}
        </Panel>
        <div class="aside">
          <Panel title="Who serves whom">
            <ServiceMap feed={feed} services={services} />
          </Panel>
          <Panel title="Lately">
            <Happenings feed={feed} />
          </Panel>
        </div>
      </div>
      {feed.apps.length > 0 && <Apps feed={feed} />}
      {feed.hosts.length > 0 && <Hosts feed={feed} />}
      {feed.registry !== '' && <Logs feed={feed} />}
    </>
  )
}

const LINES = {
  requests: [{ of: (sample: Sample) => sample.requests, name: 'requests', tone: 'sea' }],
  errors: [{ of: (sample: Sample) => sample.errors, name: 'answered 5xx', tone: 'coral' }],
  bytes: [{ of: (sample: Sample) => sample.bytes, name: 'in and out', tone: 'violet' }],
  latency: [
    { of: (sample: Sample) => sample.p99, name: 'p99', tone: 'amber' },
    { of: (sample: Sample) => sample.p50, name: 'p50', tone: 'sea' }
  ]
}

export function Charts({ feed, of }: { feed: Feed; of: string }) {
  const samples = feed.samples.get(of) ?? []
  const now = feed.now(of)
  const each = { samples }
  return (
    <div class="tiles">
      <Chart
        {...each}
        title="Requests"
        value={`${short(now.requests)}/s`}
        lines={LINES.requests}
        format={short}
      />
      <Chart
        {...each}
        title="Errors"
        value={`${short(now.errors)}/s`}
        lines={LINES.errors}
        format={short}
      />
      <Chart
        {...each}
        title="Traffic"
        value={`${bytes(now.bytes)}/s`}
        lines={LINES.bytes}
        format={bytes}
      />
      <Chart
        {...each}
        title="Latency"
        value={now.p50 ? `${ms(now.p50)} · ${ms(now.p99)}` : '–'}
        lines={LINES.latency}
        format={ms}
      />
    </div>
  )
}

function Services({ feed, services }: { feed: Feed; services: Service[] }) {
  return (
    <table class="services">
      <thead>
        <tr>
          <th scope="col">Role</th>
          <th scope="col">Versions</th>
          <th scope="col">Instances</th>
          <th scope="col" class="number">
            Requests/s
          </th>
          <th scope="col" class="number">
            p50
          </th>
        </tr>
      </thead>
      <tbody>
        {services.map((service) => {
          const { role, versions, instances, healthy } = service
          const { requests, p50 } = feed.now(role)
          return (
            <tr key={role}>
              <th scope="row">
                <a href={`#/service/${encodeURIComponent(role)}`}>{role}</a>
              </th>
              <td>
                {versions.slice(0, 3).map(({ version }) => (
                  <span key={version} class="version">
                    {version}
                  </span>
                ))}
                {versions.length > 3 && <span class="version">+{versions.length - 3}</span>}
              </td>
              <td>
                <span class="dots" aria-hidden="true">
                  {instances.slice(0, MAX_DOTS).map((instance) => (
                    <i key={instance.key} class={healthOf(instance)} />
                  ))}
                </span>
                <span class="count">
                  {healthy === instances.length
                    ? instances.length
                    : `${healthy} of ${instances.length}`}
                  <span class="unseen"> healthy</span>
                </span>
              </td>
              <td class="number">{short(requests)}</td>
              <td class="number">{ms(p50)}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

function Empty({ feed }: { feed: Feed }) {
  if (feed.instances.size > 0) return <p class="empty">Nothing matches the search.</p>
  return (
    <p class="empty">
      Nobody is registered yet. Start one with{' '}
      <code>
        hyperseaport service -p 8080 -r hello@1.0.0 --registryPublicKey{' '}
        {feed.registry || '<public key of the registry>'}
      </code>
    </p>
  )
}

const WORDS = { up: 'came', update: 'changed', down: 'left' }

function Happenings({ feed }: { feed: Feed }) {
  const now = Date.now()
  if (feed.happenings.length === 0) return <p class="empty">Quiet since this page was opened.</p>
  return (
    <ol class="happenings">
      {feed.happenings.slice(0, 8).map(({ at, change, instance }) => (
        <li key={`${at} ${change} ${instance.key}`} class={change}>
          <span>
            <b>
              {instance.role}@{instance.version}
            </b>{' '}
            {WORDS[change]} <code>{shortKey(instance.key)}</code>
          </span>
          <time>{age(at, now)} ago</time>
        </li>
      ))}
    </ol>
  )
}

function Logs({ feed }: { feed: Feed }) {
  return (
    <Panel id="registrars" title="Registrars">
      <p class="note">
        This gateway holds a copy of each registrar's log and is connected to {feed.peers}{' '}
        {feed.peers === 1 ? 'participant' : 'participants'}.
      </p>
      <table>
        <thead>
          <tr>
            <th scope="col">Registrar</th>
            <th scope="col">State</th>
            <th scope="col">Log</th>
            <th scope="col" class="number">
              Blocks here
            </th>
            <th scope="col" class="number">
              Lag
            </th>
          </tr>
        </thead>
        <tbody>
          {feed.logs.map(({ logKey, registrarKey, live, applied, offered }) => (
            <tr key={logKey}>
              <th scope="row">
                <code title={registrarKey}>{shortKey(registrarKey)}</code>
              </th>
              <td>
                <span class={`health ${live ? 'healthy' : 'stale'}`}>
                  {live ? 'connected' : 'away'}
                </span>
              </td>
              <td>
                <code title={logKey}>{shortKey(logKey)}</code>
              </td>
              <td class="number">{applied}</td>
              <td class="number">{Math.max(0, offered - applied)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  )
}
