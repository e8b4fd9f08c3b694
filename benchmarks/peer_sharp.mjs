// sharp, as its documentation advises for many outputs of one image: one instance, a clone per output.
// Reads a JSON object per line: {files, keep, parallel}; answers one with {cpu_ms, wall_ms, rss_mb, variants}.
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { createRequire } from 'node:module'

const sharp = createRequire(path.join(process.argv[2], 'package.json'))('sharp')
const widths = [1920, 1280, 640, 256]
sharp.cache(false)

async function ladder(file, keep) {
  const image = sharp(fs.readFileSync(file)).autoOrient()
  return Promise.all(widths.map(async (width) => {
    const sized = image.clone().resize({ width, withoutEnlargement: true })
    const format = width === 1920 ? 'jpeg' : 'webp'
    const encoded = format === 'jpeg' ? sized.jpeg({ quality: 80 }) : sized.webp({ quality: 80, effort: 4 })
    const { data, info } = await encoded.toBuffer({ resolveWithObject: true })
    const kept = keep && path.join(keep, `sharp-w${width}.${format}`)
    if (kept) fs.writeFileSync(kept, data)
    return { name: `w${width}`, format, width: info.width, height: info.height, bytes: data.length, path: kept }
  }))
}

const peak = () => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) / 1024

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { files, keep, parallel } = JSON.parse(line)
  if (parallel === 1) sharp.concurrency(1)
  const cpu = process.cpuUsage()
  const started = performance.now()
  const waiting = [...files]
  let variants = []
  const run = async () => { while (waiting.length) variants = await ladder(waiting.shift(), keep) }
  await Promise.all(Array.from({ length: parallel }, run))
  const used = process.cpuUsage(cpu)
  const wall_ms = performance.now() - started
  console.log(JSON.stringify({ cpu_ms: (used.user + used.system) / 1000, wall_ms, rss_mb: peak(), variants }))
}
