import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { isListening } from '../../lib/serving/local-port.js'

/** Why tests that need nginx are skipped; false if it is installed. */
export const noNginx = hasNginx() ? false : 'nginx is not installed'

/**
 * Starts nginx on a port of loopback, until the end of the test.
 *
 * @param dir a folder for its files
 * @param http what stands beside our own settings, in the block `http`
 */
export async function startNginx(t: Test, dir: string, port: number, http: string) {
  const config = join(dir, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    config,
    `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; pid ${dir}/pid; error_log stderr;
     events { worker_connections 4096; }
     http { access_log off; ${temporary.map((kind) => `${kind}_temp_path ${dir}/${kind};`).join(' ')} ${http} }`
  )
  const child = spawn('nginx', ['-c', config, '-p', dir], { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGQUIT')
    await once(child, 'exit')
  })
  while (!(await isListening(port))) await new Promise((resolve) => setTimeout(resolve, 20))
}

function hasNginx(): boolean {
  try {
    execFileSync('which', ['nginx'])
    return true
  } catch {
    return false
  }
}
