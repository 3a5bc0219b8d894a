import { runRoom } from './rooms.js'

await runRoom('fast-path')
