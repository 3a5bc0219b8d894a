import t, { type Test } from 'tap'
import { parseArguments } from '../../bin/arguments.js'
import { compose, dockerfile, manifests, startedByOthers, unitsOf, wordsOf } from './manifests.js'
import { blocksOf, PAGES, textOf } from './pages.js'

/** What systemd knows of these sections, as far as the pages use it. */
const UNIT_KEYS = [
  'Unit.Description',
  'Unit.Wants',
  'Unit.After',
  'Service.LoadCredential',
  'Service.Environment',
  'Service.ExecStart',
  'Service.StateDirectory',
  'Service.DynamicUser',
  'Service.TimeoutStopSec',
  'Service.Delegate',
  'Service.KillMode',
  'Service.Restart',
  'Install.WantedBy'
]
const DRAIN_TIMEOUT_S = 30
const INLINE_COMMAND = /`(hyperseaport [^`]+)`/g
const INSTRUCTIONS = ['FROM', 'COPY', 'RUN', 'USER', 'VOLUME', 'ENTRYPOINT']

t.test('each command line of ours in the pages has a verb and flags that there are', async (t) => {
  for (const page of PAGES.filter((page) => page !== 'CHANGELOG.md')) {
    const text = textOf(page).replaceAll(/```.*?```/gs, '')
    for (const [, line = ''] of text.matchAll(INLINE_COMMAND)) {
      if (!line.includes('<verb>')) await takes(t, wordsOf(line), page)
    }
    for (const { language, lines, place } of blocksOf(page)) {
      if (language !== 'sh') continue
      for (const line of lines.join('\n').replaceAll('\\\n', ' ').split('\n')) {
        if (line.startsWith('hyperseaport ')) await takes(t, wordsOf(line), place)
      }
    }
  }
})

t.test(
  'what systemd, Docker and Kubernetes start has verbs, flags and variables that there are',
  async (t) => {
    const lines = startedByOthers()
    t.equal(lines.length, 9)
    for (const { words, environment, place } of lines) {
      await takes(t, words, place)
      const parsed = await parseArguments([words[1] ?? ''])
      const flags = parsed.asks === 'verb' ? Object.keys(parsed.command.flags) : []
      for (const assignment of environment) {
        const [, name = ''] = /^HYPERSEAPORT_([A-Z_]+)=/.exec(assignment) ?? []
        const isRead = flags.some((flag) => flag.toUpperCase() === name.replaceAll('_', ''))
        t.ok(isRead, `${place} ${words[1]} reads ${name}`)
      }
    }
  }
)

t.test('the unit files have what systemd knows, and keep what is to be kept', async (t) => {
  for (const { settings, lines, words, place } of unitsOf()) {
    t.match(lines[0], /^# \/etc\/systemd\/system\/[a-z-]+\.service$/, place)
    for (const key of settings.keys()) t.ok(UNIT_KEYS.includes(key), `${place} ${key}`)
    t.match(settings.get('Service.ExecStart'), /^\/usr\/bin\/env /, place)
    t.ok(settings.has('Service.StateDirectory') && words.includes('--dir'), place)
    const isPatient = Number(settings.get('Service.TimeoutStopSec')) > DRAIN_TIMEOUT_S
    t.equal(isPatient, words[1] === 'service', `${place} drains`)
  }
})

t.test('the image is built of what npm pack makes', async (t) => {
  const { version } = JSON.parse(textOf('package.json'))
  const tarball = `hyperseaport-${version}.tgz`
  for (const line of dockerfile().filter((line) => !line.startsWith('#'))) {
    t.ok(INSTRUCTIONS.includes(line.split(' ')[0] ?? ''), line)
  }
  t.ok(dockerfile().includes(`COPY ${tarball} /tmp/`))
  for (const page of PAGES) {
    for (const [named] of textOf(page).matchAll(/hyperseaport-\d[\w.-]*\.tgz/g)) {
      t.equal(named, tarball, page)
    }
  }
})

t.test('what the Compose file refers to is in it', async (t) => {
  const { services, secrets, volumes } = compose()
  for (const [name, service] of Object.entries(services)) {
    for (const secret of service.secrets ?? []) t.ok(secret in secrets, secret)
    for (const volume of service.volumes ?? [])
      t.ok((volume.split(':')[0] ?? '') in volumes, volume)
    if (service.image !== 'hyperseaport') continue
    const [, host = ''] = /--target ([\w-]+):/.exec(service.command) ?? []
    t.ok(host === '' || host in services, `${name} reaches ${host}`)
    t.ok(Number.parseInt(service.stop_grace_period, 10) > DRAIN_TIMEOUT_S, name)
  }
})

t.test('what the Kubernetes manifests refer to is in them', async (t) => {
  for (const [file, { apiVersion, kind, spec }] of manifests()) {
    t.match(`${apiVersion} ${kind}`, /^(apps\/v1 (StatefulSet|Deployment)|v1 Service)$/)
    if (kind === 'Service') continue
    const { selector, template, serviceName, volumeClaimTemplates = [] } = spec
    t.same(selector.matchLabels, template.metadata.labels, `${file} selects its own pods`)
    t.equal(serviceName !== undefined, kind === 'StatefulSet', file)
    const { containers, volumes = [], terminationGracePeriodSeconds = 30 } = template.spec
    const claimed = volumeClaimTemplates.map(({ metadata }) => metadata.name)
    const names = [...volumes.map(({ name }) => name), ...claimed]
    for (const { args = [], volumeMounts = [] } of containers) {
      for (const { name } of volumeMounts) t.ok(names.includes(name), `${file} has ${name}`)
      if (args[0] === 'service') t.ok(terminationGracePeriodSeconds > DRAIN_TIMEOUT_S, file)
    }
  }
})

/** Whether our program would take a command line. */
async function takes(t: Test, [program, ...line]: string[], place: string) {
  t.equal(program, 'hyperseaport', place)
  await t.resolves(parseArguments(line), `${place} ${line.join(' ')}`)
}
