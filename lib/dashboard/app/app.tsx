import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Feed } from './feed.js'
import { shortKey } from './format.js'
import { Overview } from './overview.js'
import { ServicePage } from './service-page.js'
import { servicesOf } from './services.js'

let redraw: () => void = () => {}
const feed = new Feed(() => redraw())

function App() {
  const [, setFrame] = useState(0)
  const [search, setSearch] = useState('')
  const [page, setPage] = useState(location.hash)
  const box = useRef<HTMLInputElement>(null)
  const main = useRef<HTMLElement>(null)

  useEffect(() => {
    redraw = () => setFrame((frame) => frame + 1)
    const onhash = () => {
      setPage(location.hash)
      // Else the browser scrolls what has the focus to the top, where the header covers it.
      main.current?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    const onkey = (event: KeyboardEvent) => {
      if (event.key === '/' && !(event.target instanceof HTMLInputElement)) {
        event.preventDefault()
        box.current?.focus()
      }
    }
    addEventListener('hashchange', onhash)
    addEventListener('keydown', onkey)
    feed.open()
    return () => {
      removeEventListener('hashchange', onhash)
      removeEventListener('keydown', onkey)
    }
  }, [])

  const role = /^#\/service\/(.+)$/.exec(page)?.[1]
  const services = servicesOf(feed.instances.values(), search)
  const shown = role && decodeURIComponent(role)
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header>
        <a class="brand" href="#/" aria-label="hyperseaport, all services">
          <img src="/-/icon.svg" alt="" width="28" height="28" />
          <span>hyperseaport</span>
        </a>
        <Counts />
        <input
          ref={box}
          type="search"
          placeholder="Search (/)"
          aria-label="Search services by name, version, key, tag or health"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <span class={`state ${feed.isConnected ? 'on' : 'off'}`} role="status">
          {feed.isConnected ? 'live' : 'reconnecting'}
        </span>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {shown === undefined ? (
          <>
            <h1 class="unseen">Services</h1>
            <Overview feed={feed} services={services} />
          </>
        ) : (
          <ServicePage
            feed={feed}
            role={shown}
            service={services.find(({ role }) => role === shown)}
          />
        )}
      </main>
      <footer>
        {feed.registry !== '' && (
          <>
            registry <code title={feed.registry}>{feed.registry}</code>
          </>
        )}
        {feed.viewer !== '' && feed.viewer !== 'anonymous' && <span>· seen by {feed.viewer}</span>}
      </footer>
      <Announcer />
    </>
  )
}

function Counts() {
  const roles = new Set([...feed.instances.values()].map(({ role }) => role))
  return (
    <p class="counts">
      <b>{roles.size}</b> {roles.size === 1 ? 'service' : 'services'} · <b>{feed.instances.size}</b>{' '}
      {feed.instances.size === 1 ? 'instance' : 'instances'}
    </p>
  )
}

/** Tells those who do not see it what came and went. */
function Announcer() {
  const [latest] = feed.happenings
  const text = latest
    ? `${latest.instance.role} ${latest.instance.version} ${shortKey(latest.instance.key)} is ${latest.change}`
    : ''
  return (
    <p class="unseen" aria-live="polite">
      {text}
    </p>
  )
}

const root = document.getElementById('app')
if (root) render(<App />, root)
