import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { get, harbor } from '../bin/harbor.js'

const FORMATS = [
  'text/plain;version=0.0.4',
  'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'
]

t.test('promtool has nothing to say against the metrics of any verb', async (t) => {
  const { cli, registry, web } = await harbor(t, ['--web', '0', '--metrics', '0'])
  const gateway = await web('--metrics', '0')
  const proxy = cli.start([
    'proxy',
    '-p',
    '0',
    '-r',
    'hello@1.x',
    '--metrics',
    '0',
    '--dir',
    cli.path('proxy')
  ])
  const local = await proxy.waitForLine('proxy from  ')
  await get(`http://127.0.0.1:${local.split(' ')[0]}/`)
  const more = cli.start([
    'service',
    '-p',
    '9',
    '-r',
    'none@1.0.0',
    '--check',
    'none',
    '--metrics',
    '0',
    '--dir',
    cli.path('none')
  ])
  for (let i = 0; i < 3; i++) await get(`http://127.0.0.1:${gateway.port}/role/hello@1.x/`)
  const ports = await Promise.all(
    [registry, gateway.web, proxy, more].map((running) => running.waitForLine('metrics on '))
  )
  for (const url of ports) {
    for (const accept of FORMATS) {
      const { status, text } = await get(url, { accept })
      t.equal(status, 200)
      t.equal(text.endsWith('# EOF\n'), accept !== FORMATS[0], accept)
      t.match(text, 'hyperseaport_build_info{')
      t.notMatch(text, /retries_retries/)
      const unsaid = [...text.matchAll(/^# HELP hyperseaport_(\S+) (.*)$/gm)]
        .filter(([, name = '', help]) => help === name.replaceAll('_', ' '))
        .map(([, name]) => name)
      t.same(unsaid, [], 'of each number it is said what it means')
      // promtool reads the plain format; the other differs in where a counter says _total, and in its end.
      if (accept === FORMATS[0]) t.equal(await promtool(text), '', url)
    }
  }
  const { text } = await get(ports[1] as string)
  t.match(text, /^hyperseaport_web_role_latency_seconds_bucket\{role="hello",le="\+Inf"\} 3$/m)
  t.match(text, /^hyperseaport_instances\{status="passing"\} \d$/m)
})

/** What promtool finds wrong. */
async function promtool(metrics: string): Promise<string> {
  const child = spawn('promtool', ['check', 'metrics'])
  child.stdin.end(metrics)
  const [out, error] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit')
  ])
  return out + error
}
