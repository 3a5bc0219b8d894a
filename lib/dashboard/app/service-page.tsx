import { Copyable } from './copy.js'
import type { Feed } from './feed.js'
import { InstanceTable } from './instance-table.js'
import { Charts } from './overview.js'
import { Panel } from './panel.js'
import { rangeOf, type Service } from './services.js'
import { speaks, Talk } from './talk.js'

/** One role: its instances, its traffic, and how to call it. */
export function ServicePage({
  feed,
  service,
  role
}: {
  feed: Feed
  service: Service | undefined
  role: string
}) {
  const newest = service?.versions[0]?.version
  const range = `${role}@${newest ? rangeOf(newest) : '*'}`
  return (
    <>
      <nav aria-label="Breadcrumb" class="crumbs">
        <a href="#/">All services</a> <span aria-hidden="true">/</span>{' '}
        <span aria-current="page">{role}</span>
      </nav>
      <h1>{role}</h1>
      <Charts feed={feed} of={role} />
      <Panel id="instances" title="Instances">
        {service ? (
          <>
            <p class="note">
              {service.versions.map(({ version, instances }) => (
                <span key={version} class="version">
                  {version} × {instances.length}
                </span>
              ))}
            </p>
            <InstanceTable feed={feed} instances={service.instances} />
          </>
        ) : (
          <p class="empty">Nobody serves {role} now.</p>
        )}
      </Panel>
      {service && speaks(service.instances) && <Talk role={range} instances={service.instances} />}
      <Panel id="calling" title="How to call it">
        <Calls role={range} registry={feed.registry} />
      </Panel>
    </>
  )
}

function Calls({ role, registry }: { role: string; registry: string }) {
  const path = encodeURI(role).replaceAll('#', '%23').replaceAll('?', '%3F')
  return (
    <>
      <h3>Through this gateway</h3>
      <Copyable label="curl" text={`curl '${location.origin}/role/${path}/'`} />
      {registry !== '' && <DirectCalls role={role} registry={registry} />}
    </>
  )
}

/** For members of the registry, who know its public key. */
function DirectCalls({ role, registry }: { role: string; registry: string }) {
  return (
    <>
      <h3>As if it ran on this machine</h3>
      <Copyable
        label="hyperseaport proxy"
        text={`hyperseaport proxy --port 8080 --role '${role}' \\\n  --registryPublicKey ${registry}\ncurl http://localhost:8080/`}
      />
      <h3>From Node</h3>
      <Copyable
        label="Node"
        text={`import { Consumer } from 'hyperseaport'\n\nconst consumer = Consumer(['${role}'], {\n  registryPublicKey: '${registry}'\n})\nconst [service] = await consumer.setup()\nconst answer = await fetch(service.url)`}
      />
    </>
  )
}
