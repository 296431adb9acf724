/**
 * The choice between graphics card and processor, in a Chromium whose card SwiftShader simulates: left out where it is not asked for,
 * used where it is. The smallest model is used, for SwiftShader compiles slowly; its answers in the runtime's first layout are wrong
 * (probabilities differ by .5), so that the golden pair decides here, too.
 *
 * Half a minute of a quiet machine, so only where GLIOMASK_WEBGPU is set.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Browser, chromium, expect, test } from '@playwright/test'

import { text } from '../src/text/en'
import { BELOW, complaintsOf, GLIOMASK, PHONE, serveSite } from './chromium'

const CASE = join(import.meta.dirname, '../vectors/pipeline')
/** SwiftShader compiles for half a minute, and for longer where the machine does other things, too. */
const BEGUN = 300_000

let scratch = ''
let server: Server
let browser: Browser

test.skip(!process.env['GLIOMASK_WEBGPU'], 'GLIOMASK_WEBGPU is not set: SwiftShader compiles for half a minute.')

test.beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gliomask-webgpu-'))
  execFileSync(GLIOMASK, ['web', 'build', '-o', join(scratch, 'site'), '--model', 'sparse-multi-ocm'])
  server = await serveSite(join(scratch, 'site'))
  browser = await chromium.launch({
    executablePath: process.env['GLIOMASK_CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan', '--enable-unsafe-swiftshader'],
  })
})

test.afterAll(async () => {
  await browser?.close()
  server?.close()
  rmSync(scratch, { recursive: true, force: true })
})

test('a simulated card is left out until it is asked for; then it is proved and used', async () => {
  const page = await browser.newPage({ viewport: PHONE })
  const complaints = complaintsOf(page)
  const asked: string[] = []
  page.context().on('request', (request) => asked.push(request.url()))
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}${BELOW}`)
  await expect.poll(() => page.evaluate(() => crossOriginIsolated).catch(() => false), { timeout: 60_000 }).toBe(true)
  await page.setInputFiles('#files', readdirSync(CASE).filter((name) => /(flair|t1|t1ce|t2)\.nii\.gz$/.test(name)).map((name) => join(CASE, name)))

  const state = page.locator('#state')
  const begun = async (compute: string) => {
    await page.locator('#compute').selectOption(compute)
    await page.click('#run')
    await expect(state).toContainText('Segmenting', { timeout: BEGUN })
    const said = await state.textContent()
    await page.click('#cancel')
    await expect(state).toHaveText(text.cancelled)
    expect(await page.locator('#error').textContent()).toBe('')
    return said
  }
  expect(await begun('auto')).not.toContain('card')
  expect(asked.filter((url) => url.includes('.jspi'))).toEqual([])
  expect(await begun('webgpu')).toContain('on the graphics card')
  expect(asked.filter((url) => url.includes('.jspi')).length).toBeGreaterThan(0)
  expect(complaints).toEqual([])
})
