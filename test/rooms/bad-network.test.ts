import { runRoom } from './rooms.js'

await runRoom('bad-network')
