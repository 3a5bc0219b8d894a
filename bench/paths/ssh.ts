import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { Child, run } from '../child.js'
import { freePort } from '../island.js'
import type { PathKind } from './path.js'

const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd'].find(existsSync)
/** sshd does not start as root without it. Packages make it when they start the daemon. */
const SEPARATION_FOLDER = '/run/sshd'
const LOOPBACK = '127.0.0.1'
const START_TIMEOUT_MS = 10_000

/** `ssh -L`, as it comes: one TCP connection, a channel for each of the client's. */
export const ssh: PathKind = {
  name: 'ssh -L',
  isBaseline: true,

  async missing() {
    return SSHD ? null : 'no sshd here; on Debian, apt-get install openssh-server'
  },

  async open(island, backendPort) {
    const dir = island.folder()
    const port = await freePort()
    const key = await makeKey(dir, 'client')
    const far = await startServer(dir, port)
    return {
      kind: ssh,
      far,
      async near() {
        const localPort = await freePort()
        const child = new Child('ssh', clientArguments(key, port, localPort, backendPort), {
          name: 'ssh'
        })
        await untilListening(localPort, child)
        return { port: localPort, child, stop: () => child.stop() }
      },
      close: () => far.stop()
    }
  }
}

async function startServer(dir: string, port: number): Promise<Child> {
  const hostKey = await makeKey(dir, 'host')
  if (process.getuid?.() === 0) mkdirSync(SEPARATION_FOLDER, { recursive: true })
  const config = join(dir, 'sshd_config')
  writeFileSync(
    config,
    [
      `Port ${port}`,
      `ListenAddress ${LOOPBACK}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${join(dir, 'client.pub')}`,
      'PidFile none',
      // The folder is under /tmp, which others may write to.
      'StrictModes no',
      'UsePAM no',
      'UseDNS no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      ''
    ].join('\n')
  )
  const server = new Child(SSHD ?? 'sshd', ['-D', '-e', '-f', config], { name: 'sshd' })
  await server.waitForLine('Server listening')
  return server
}

async function makeKey(dir: string, name: string): Promise<string> {
  const path = join(dir, name)
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'bench', '-f', path])
  return path
}

function clientArguments(key: string, port: number, local: number, backend: number): string[] {
  const options = {
    BatchMode: 'yes',
    ControlMaster: 'no',
    ExitOnForwardFailure: 'yes',
    IdentitiesOnly: 'yes',
    LogLevel: 'ERROR',
    StrictHostKeyChecking: 'no',
    UserKnownHostsFile: '/dev/null'
  }
  return [
    ...['-F', 'none', '-N', '-p', `${port}`, '-i', key],
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...['-L', `${LOOPBACK}:${local}:${LOOPBACK}:${backend}`],
    `${userInfo().username}@${LOOPBACK}`
  ]
}

/** Of what says nothing when it listens: the port is asked until it answers. */
export async function untilListening(port: number, child: Child) {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await answers(port))) {
    if (Date.now() > deadline) throw new Error(`${child.name} does not listen`)
    await after(20)
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: LOOPBACK })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
