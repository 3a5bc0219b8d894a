import { useCallback, useEffect, useState } from 'preact/hooks'
import type { Instance } from './feed.js'
import { shortKey } from './format.js'
import { Panel } from './panel.js'

/** What a service says that it can be told, and what it tells. */
interface Description {
  commands: Command[]
  events: string[]
}

interface Command {
  name: string
  idempotent: boolean
  /** JSON Schema, where the service gives one. */
  input?: unknown
  output?: unknown
}

/** The state of one instance. */
interface State {
  term?: number
  rev?: number
  entries: { name: string; rev: number; value: unknown }[]
}

/** An answer, or why there is none. */
type Outcome = { value: unknown; error: null } | { value: null; error: string }

const CONVERSATION = 'hyperseaport/conversation/1'
const MAX_SHOWN_ENTRIES = 500
const MAX_SHOWN_STATES = 50
const MAX_SHOWN_CHARACTERS = 20_000

export function speaks(instances: readonly Instance[]): boolean {
  return instances.some(isSpeaking)
}

function isSpeaking({ speaks }: Instance): boolean {
  return speaks?.includes(CONVERSATION) === true
}

/** The commands of a service, with a form to call each, its event types, and the state of each instance. */
export function Talk({ role, instances }: { role: string; instances: readonly Instance[] }) {
  const [description, setDescription] = useState<Outcome | null>(null)
  /** Counts how often the states were to be read. */
  const [reading, setReading] = useState(0)
  const readStates = useCallback(() => setReading((count) => count + 1), [])
  useEffect(() => {
    setDescription(null)
    void call(role, '$describe', '').then(setDescription)
  }, [role])
  const owners = instances.filter(isSpeaking)
  const { commands = [], events = [] } = (description?.value ?? {}) as Partial<Description>
  return (
    <>
      <Panel id="commands" title="Commands">
        <Trouble of={description} />
        {commands.map((command) => (
          <CommandForm key={command.name} role={role} command={command} oncalled={readStates} />
        ))}
        {description?.error === null && commands.length === 0 && <p class="empty">It has none.</p>}
      </Panel>
      {events.length > 0 && (
        <Panel id="events" title="Events">
          <p>
            {events.map((type) => (
              <code key={type} class="version">
                {type}
              </code>
            ))}
          </p>
        </Panel>
      )}
      <Panel id="state" title="State">
        {owners.slice(0, MAX_SHOWN_STATES).map((owner) => (
          <InstanceState key={owner.key} owner={owner} reading={reading} />
        ))}
        {owners.length > MAX_SHOWN_STATES && (
          <p class="note">
            {owners.length - MAX_SHOWN_STATES} more instances have a state of their own.
          </p>
        )}
        <button type="button" onClick={readStates}>
          Read the state again
        </button>
      </Panel>
    </>
  )
}

function CommandForm({
  role,
  command,
  oncalled
}: {
  role: string
  command: Command
  oncalled: () => void
}) {
  const { name, idempotent, input, output } = command
  const [text, setText] = useState('')
  const [isCalling, setCalling] = useState(false)
  const [outcome, setOutcome] = useState<Outcome | null>(null)
  const submit = async (event: Event) => {
    event.preventDefault()
    setCalling(true)
    setOutcome(await call(role, name, text))
    setCalling(false)
    oncalled()
  }
  return (
    <form class="command" onSubmit={submit}>
      <h3>
        <code>{name}</code>
        {idempotent && <span class="note"> may be called twice</span>}
      </h3>
      <Schema label={`${name} takes`} schema={input} />
      <Schema label={`${name} answers`} schema={output} />
      <textarea
        aria-label={`JSON for ${name}`}
        placeholder="JSON, or nothing"
        rows={2}
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" disabled={isCalling} aria-label={`Call ${name}`}>
        {isCalling ? 'Calling' : 'Call'}
      </button>
      <output aria-label={`Answer of ${name}`}>
        <Trouble of={outcome} />
        {outcome?.error === null && <Json value={outcome.value} />}
      </output>
    </form>
  )
}

function Schema({ label, schema }: { label: string; schema: unknown }) {
  if (schema === undefined) return null
  return (
    <details>
      <summary>{label}</summary>
      <Json value={schema} />
    </details>
  )
}

/** The state of one instance, which is read anew whenever `reading` changes. */
function InstanceState({ owner, reading }: { owner: Instance; reading: number }) {
  const { role, version, key } = owner
  const [state, setState] = useState<Outcome | null>(null)
  useEffect(() => {
    let isCurrent = true
    void call(`${role}@${version}`, '$state', '', key).then((outcome) => {
      if (isCurrent) setState(outcome)
    })
    return () => {
      isCurrent = false
    }
  }, [role, version, key, reading])
  return (
    <>
      <h3>
        <code title={key}>{shortKey(key)}</code> <span class="version">{version}</span>
      </h3>
      <Trouble of={state} />
      {state?.error === null && <Entries state={state.value as State} />}
    </>
  )
}

function Entries({ state: { term, rev, entries } }: { state: State }) {
  if (entries.length === 0) return <p class="empty">It has no entries.</p>
  return (
    <>
      <p class="note">
        {entries.length} {entries.length === 1 ? 'entry' : 'entries'}, term {term}, revision {rev}
      </p>
      <table class="entries">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Value</th>
            <th scope="col">Revision</th>
          </tr>
        </thead>
        <tbody>
          {entries.slice(0, MAX_SHOWN_ENTRIES).map(({ name, value, rev }) => (
            <tr key={name}>
              <th scope="row">
                <code>{name}</code>
              </th>
              <td>
                <Json value={value} />
              </td>
              <td>{rev}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

function Json({ value }: { value: unknown }) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? 'no answer')
  const isLong = text.length > MAX_SHOWN_CHARACTERS
  return <pre>{isLong ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text}</pre>
}

function Trouble({ of }: { of: Outcome | null }) {
  return of?.error ? <p class="trouble">{of.error}</p> : null
}

/**
 * Has a command executed by the gateway, in the name of who looks at this page. Never rejects.
 *
 * @param instance the only instance to call
 */
async function call(
  role: string,
  command: string,
  body: string,
  instance?: string
): Promise<Outcome> {
  const only = instance === undefined ? '' : `?instance=${encodeURIComponent(instance)}`
  try {
    const response = await fetch(
      `/call/${encodeURIComponent(role)}/${encodeURIComponent(command)}${only}`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body
      }
    )
    const isJson = response.headers.get('content-type')?.includes('json') === true
    const text = await response.text()
    if (!response.ok) return { value: null, error: troubleOf(response.status, text) }
    if (text === '') return { value: undefined, error: null }
    return { value: isJson ? JSON.parse(text) : `${text.length} bytes`, error: null }
  } catch (error) {
    return { value: null, error: `The gateway gave no answer: ${(error as Error).message}` }
  }
}

function troubleOf(status: number, text: string): string {
  try {
    const { error, message, executed, handlerCode } = JSON.parse(text)
    const code = handlerCode ? `${error} (${handlerCode})` : error
    return `${code}: ${message}${executed ? ` (executed: ${executed})` : ''}`
  } catch {
    return `The gateway answered with status ${status}.`
  }
}
