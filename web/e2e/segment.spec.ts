/**
 * The whole way in Debian's Chromium: the application that `gliomask web build` writes, served below another path by a server that
 * sends no headers of isolation, against the label maps of the command line.
 *
 * GLIOMASK names the command; GLIOMASK_CASES the cases, folders separated by `:` (by default three of ../shared/data/brats).
 */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'

import { expect, type Page, test } from '@playwright/test'

import { readNifti } from '../src/pipeline/nifti'

const GLIOMASK = process.env['GLIOMASK'] ?? 'gliomask'
const DATA = join(import.meta.dirname, '../../../shared/data/brats')
const CASES = process.env['GLIOMASK_CASES']?.split(':') ?? firstCases(3)
const BELOW = '/some/where/'
const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
}

let scratch = ''
let server: Server
let origin = ''

function firstCases(count: number): string[] {
  if (!existsSync(DATA)) return []
  return readdirSync(DATA, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(DATA, entry.name))
    .sort()
    .slice(0, count)
}

test.beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gliomask-web-'))
  execFileSync(GLIOMASK, ['web', 'build', '-o', join(scratch, 'site')])
  server = createServer((request, response) => {
    const path = normalize(decodeURIComponent((request.url ?? '').split('?')[0] ?? ''))
    const file = join(scratch, 'site', path.slice(BELOW.length) || 'index.html')
    if (!path.startsWith(BELOW) || !existsSync(file)) return response.writeHead(404).end()
    return response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

test.afterAll(() => {
  server?.close()
  rmSync(scratch, { recursive: true, force: true })
})

async function opened(page: Page): Promise<{ asked: string[]; complaints: string[] }> {
  const asked: string[] = []
  const complaints: string[] = []
  page.context().on('request', (request) => asked.push(request.url()))
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  await page.goto(`${origin}${BELOW}`)
  await expect.poll(() => page.evaluate(() => crossOriginIsolated).catch(() => false), { timeout: 60_000 }).toBe(true)
  return { asked, complaints }
}

async function give(page: Page, folder: string): Promise<void> {
  const files = readdirSync(folder).filter((name) => /\.nii(\.gz)?$/.test(name) && !/seg/.test(name))
  await page.setInputFiles('#files', files.map((name) => join(folder, name)))
}

function pythonLabelMap(folder: string, name: string): string {
  const output = join(scratch, 'python', name)
  execFileSync(GLIOMASK, ['segment', folder, '-o', output, '--precision', 'fp32'], { stdio: 'pipe' })
  const all = readdirSync(output, { recursive: true, encoding: 'utf8' })
  return join(output, all.find((file) => file.endsWith('_seg.nii.gz')) ?? '')
}

async function read(path: string) {
  return readNifti(path, new Blob([readFileSync(path)]))
}

test('isolated, offline after the first visit, and below another path', async ({ page, context }) => {
  const { asked, complaints } = await opened(page)
  await context.setOffline(true)
  server.close()
  server.closeAllConnections()
  await page.reload()
  await expect(page.locator('h1')).toBeVisible()
  expect(asked.filter((url) => !url.startsWith(origin) && !/^(blob|data):/.test(url))).toEqual([])
  expect(complaints).toEqual([])
  await new Promise<void>((resolve) => server.listen(Number(new URL(origin).port), '127.0.0.1', resolve))
})

test('bad input is refused in words', async ({ page }) => {
  await opened(page)
  const four = ['flair', 't1', 't1ce', 't2'].map((name) => ({ name: `p_${name}.nii.gz`, mimeType: '', buffer: Buffer.from('no scan') }))
  await page.setInputFiles('#files', four)
  await page.click('#run')
  await expect(page.locator('#error')).toContainText("p_flair.nii.gz: not a NIfTI file (its first bytes are b'no s'). Convert it to NIfTI first.")
})

test('cancel ends the work', async ({ page }) => {
  test.skip(!CASES.length, 'needs the real cases in ../shared/data/brats')
  await opened(page)
  await give(page, CASES[0] as string)
  await page.click('#run')
  await expect(page.locator('#state')).toContainText('left', { timeout: 120_000 })
  await page.click('#cancel')
  await expect(page.locator('#state')).toHaveText('Cancelled.')
  await expect(page.locator('#run')).toBeEnabled()
})

for (const folder of CASES.length ? CASES : ['']) {
  test(`agrees with the command line: ${folder.split('/').pop()}`, async ({ page }) => {
    test.skip(!folder, 'needs the real cases in ../shared/data/brats')
    const name = folder.split('/').pop() as string
    const { asked, complaints } = await opened(page)
    await give(page, folder)
    const began = Date.now()
    await page.click('#run')
    await expect(page.locator('#result, #error:not(:empty)').first()).toBeVisible({ timeout: 280_000 })
    const seconds = (Date.now() - began) / 1000
    expect(await page.locator('#error').textContent()).toBe('')
    const waiting = page.waitForEvent('download')
    await page.click('#downloads a[download$="_seg.nii.gz"]')
    const download = join(scratch, `${name}.nii.gz`)
    await (await waiting).saveAs(download)
    const found = await read(download)
    const expected = await read(pythonLabelMap(folder, name))
    const flair = readdirSync(folder).find((file) => /(flair|t2f)\.nii(\.gz)?$/.test(file)) as string
    const brain = (await read(join(folder, flair))).values
    let [inside, same, tumour, sameTumour] = [0, 0, 0, 0]
    for (let v = 0; v < brain.length; v++) {
      if (!brain[v]) continue
      inside++
      if (found.values[v] === expected.values[v]) same++
      if (!expected.values[v] && !found.values[v]) continue
      tumour++
      if (found.values[v] === expected.values[v]) sameTumour++
    }
    console.log(`${name}: ${seconds.toFixed(1)} s, ${((100 * same) / inside).toFixed(4)} % of brain, ${((100 * sameTumour) / tumour).toFixed(3)} % of tumour the same`)
    expect(found.grid).toEqual(expected.grid)
    expect(same / inside).toBeGreaterThan(0.999)
    expect(asked.filter((url) => !url.startsWith(origin) && !/^(blob|data):/.test(url))).toEqual([])
    expect(complaints).toEqual([])
  })
}
