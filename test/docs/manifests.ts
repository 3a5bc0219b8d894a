import { parseAllDocuments } from 'yaml'
import { type Block, blocksOf } from './pages.js'

/** A command line of ours that something else starts: systemd, Docker or Kubernetes. */
export interface Started {
  place: string
  /** From the program's name on. */
  words: string[]
  /** As in `HYPERSEAPORT_REGISTRY_SEED=@/run/secrets/seed`. */
  environment: string[]
}

export interface Unit extends Started {
  /** `Service.ExecStart` and so on. */
  settings: Map<string, string>
  lines: string[]
}

export interface Compose {
  services: Record<
    string,
    {
      image: string
      command: string
      environment: Record<string, string>
      secrets?: string[]
      volumes?: string[]
      stop_grace_period: string
    }
  >
  secrets: Record<string, unknown>
  volumes: Record<string, unknown>
}

export interface Manifest {
  apiVersion: string
  kind: string
  spec: {
    selector: { matchLabels: Record<string, string> }
    serviceName?: string
    template: {
      metadata: { labels: Record<string, string> }
      spec: {
        containers: {
          image: string
          args?: string[]
          env?: { name: string; value: string }[]
          volumeMounts?: { name: string }[]
        }[]
        volumes?: { name: string }[]
        terminationGracePeriodSeconds?: number
      }
    }
    volumeClaimTemplates?: { metadata: { name: string } }[]
  }
}

const CONTAINERS = 'docs/guide/containers.md'
const UNIT_PAGES = ['docs/guide/running.md', 'docs/guide/hosting.md']
const IMAGE = 'hyperseaport'
const MANIFESTS = ['registry.yaml', 'couchdb.yaml', 'couchdb-elsewhere.yaml']

export function unitsOf(): Unit[] {
  const blocks = UNIT_PAGES.flatMap((page) => blocksNamed(page, 'ini'))
  return blocks.map(({ place, lines }) => {
    const settings = new Map<string, string>()
    let section = ''
    for (const line of lines) {
      section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section
      const [, key, value = ''] = /^(\w+)=(.+)$/.exec(line) ?? []
      if (key !== undefined) settings.set(`${section}.${key}`, value)
    }
    const [, ...words] = wordsOf(settings.get('Service.ExecStart') ?? '')
    const environment = [settings.get('Service.Environment') ?? '']
    return { place, lines, settings, words, environment }
  })
}

export function dockerfile(): string[] {
  return blocksNamed(CONTAINERS, 'dockerfile').flatMap(({ lines }) => lines)
}

export function compose(): Compose {
  return documentsOf('compose.yaml')[0] as Compose
}

/** What Kubernetes is given, by file. */
export function manifests(): [file: string, manifest: Manifest][] {
  return MANIFESTS.flatMap((file) =>
    documentsOf(file).map((manifest): [string, Manifest] => [file, manifest as Manifest])
  )
}

/** Every command line of ours that others start. */
export function startedByOthers(): Started[] {
  const composed = Object.entries(compose().services)
    .filter(([, { image }]) => image === IMAGE)
    .map(([place, { command, environment }]) => ({
      place,
      words: [IMAGE, ...wordsOf(command)],
      environment: Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    }))
  const orchestrated = manifests()
    .filter(([, { kind }]) => kind !== 'Service')
    .flatMap(([place, { spec }]) =>
      spec.template.spec.containers
        .filter(({ image }) => image === IMAGE)
        .map(({ args = [], env = [] }) => ({
          place,
          words: [IMAGE, ...args],
          environment: env.map(({ name, value }) => `${name}=${value}`)
        }))
    )
  return [...unitsOf(), ...composed, ...orchestrated]
}

/** Words as a shell makes them, up to a comment, a redirection or the next command. */
export function wordsOf(line: string): string[] {
  const [command = ''] = line.replaceAll(/<[\w ]+>/g, 'PLACEHOLDER').split(/\s+(?:#|<|>|\||&&)/)
  return [...command.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) =>
    word.replaceAll(/['"]/g, '')
  )
}

function blocksNamed(page: string, language: string): Block[] {
  return blocksOf(page).filter((block) => block.language === language)
}

/** The YAML of a file that the page on containers has, by the comment that names it. */
function documentsOf(file: string): unknown[] {
  const block = blocksNamed(CONTAINERS, 'yaml').find(({ lines }) => lines[0] === `# ${file}`)
  const documents = parseAllDocuments(block?.lines.join('\n') ?? '')
  for (const { errors } of documents) if (errors[0]) throw errors[0]
  return documents.map((document) => document.toJS())
}
