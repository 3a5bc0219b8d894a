import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { isListening } from '../../lib/serving/local-port.js'
import { noServer } from './servers.js'

const MODULES = '/usr/lib/apache2/modules'
/** What stands in Debian's own settings, and what the named modules need. */
const LOADED = [
  ...['mpm_event', 'authz_core', 'slotmem_shm', 'ssl', 'headers', 'proxy'],
  ...['proxy_http', 'proxy_wstunnel', 'proxy_balancer', 'lbmethod_byrequests']
]

/** Why tests that need Apache are skipped; false if it is installed. */
export const noApache =
  noServer('apache2') || (existsSync(MODULES) ? false : 'the modules of apache2 are elsewhere')

/**
 * Starts Apache on a port of loopback, until the end of the test.
 *
 * @param dir a folder for its files
 * @param site a virtual host
 */
export async function startApache(t: Test, dir: string, port: number, site: string) {
  const config = join(dir, 'apache2.conf')
  mkdirSync(join(dir, 'run'))
  const lines = [
    `ServerRoot ${dir}`,
    `DefaultRuntimeDir ${dir}/run`,
    `PidFile ${dir}/run/pid`,
    `ErrorLog ${dir}/error.log`,
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    ...(process.getuid?.() === 0 ? ['User nobody', 'Group nogroup'] : []),
    ...LOADED.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
  ]
  writeFileSync(config, `${lines.join('\n')}\n${site}\n`)
  const child = spawn('apache2', ['-d', dir, '-f', config, '-DFOREGROUND'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`apache2 ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
