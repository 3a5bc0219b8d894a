import { runRoom } from './rooms.js'

await runRoom(process.argv[2] ?? '')
