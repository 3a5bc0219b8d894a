/**
 * Registers services, one after the other, and takes each back. Arguments: bootstrap, registry's public
 * key, folder, how many. Reports, for each, when it began, when a registrar had confirmed it, and when
 * it was told to go, in ms of the machine's clock.
 */
import { setTimeout as after } from 'node:timers/promises'
import { KeyPair, Service } from '../../lib/index.js'
import { monotonic } from './monotonic.js'
import { report } from './tcp.js'

const [bootstrap = '', registryPublicKey = '', dir = '', count = ''] = process.argv.slice(2)
const role = 'bench-visible@1.0.0'
/** Until the others have seen it. */
const PAUSE_MS = 100

const options = { registryPublicKey, bootstrap, dir, port: 1 }
const stays = Service({ ...options, role: 'bench-stays@1.0.0', keyPair: KeyPair() })
await stays.setup()

const moments: { key: string; began: number; confirmed: number; left: number }[] = []
for (let i = 0; i < Number(count); i++) {
  const service = Service({ ...options, role, keyPair: KeyPair() })
  let began = 0
  service.once('connecting', () => {
    began = monotonic()
  })
  await service.setup()
  const confirmed = monotonic()
  await after(PAUSE_MS)
  const left = monotonic()
  moments.push({ key: service.servicePublicKey, began, confirmed, left })
  await service.destroy()
}
await after(PAUSE_MS)
await report(moments)
process.exit()
