import type { App, Feed, Host } from './feed.js'
import { shortKey } from './format.js'
import { Panel } from './panel.js'

const HEALTHS = { ready: 'healthy', draining: 'draining', stale: 'stale' }
const PASSING = 'passing'

/** What is wanted of apps, and where they run. */
export function Apps({ feed }: { feed: Feed }) {
  const names = new Map(feed.hosts.map(({ key, name }) => [key, name]))
  return (
    <Panel id="apps" title="Apps">
      <table>
        <thead>
          <tr>
            <th scope="col">App</th>
            <th scope="col">Version</th>
            <th scope="col">State</th>
            <th scope="col">Passing</th>
            <th scope="col">Instances</th>
            <th scope="col">Hostnames</th>
          </tr>
        </thead>
        <tbody>
          {feed.apps.map((one) => (
            <tr key={one.app}>
              <th scope="row">
                <a href={`#/service/${encodeURIComponent(one.app)}`}>{one.app}</a>
              </th>
              <td>{one.version}</td>
              <td>{one.state}</td>
              <td>{passing(one)}</td>
              <td>
                {one.instances.map(({ key, host, slot, version, status }) => (
                  <span key={key} class="tag" title={key}>
                    {`${names.get(host) ?? shortKey(host)}/${slot} ${version} ${status}`}
                  </span>
                ))}
              </td>
              <td>{one.hostnames.join(' ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  )
}

/** The machines that run apps. */
export function Hosts({ feed }: { feed: Feed }) {
  return (
    <Panel id="hosts" title="Hosts">
      <table>
        <thead>
          <tr>
            <th scope="col">Host</th>
            <th scope="col">Key</th>
            <th scope="col">State</th>
            <th scope="col">Labels</th>
            <th scope="col" class="number">
              Instances
            </th>
          </tr>
        </thead>
        <tbody>
          {feed.hosts.map((host) => (
            <tr key={host.key}>
              <th scope="row">{host.name}</th>
              <td>
                <code title={host.key}>{shortKey(host.key)}</code>
              </td>
              <td>
                <span class={`health ${HEALTHS[host.state]}`}>{host.state}</span>
              </td>
              <td>{host.labels.join(' ')}</td>
              <td class="number">{countOf(feed.apps, host)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  )
}

/** While versions mix, those of the former one count as well. */
function passing({ state, wanted, instances }: App): string {
  const count = instances.filter(({ status }) => status === PASSING).length
  return state === 'running' && wanted !== 'all' ? `${count} of ${wanted}` : `${count}`
}

function countOf(apps: App[], { key }: Host): number {
  return apps.flatMap(({ instances }) => instances).filter(({ host }) => host === key).length
}
