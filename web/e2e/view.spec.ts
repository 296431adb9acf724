/**
 * The page of `gliomask view` in Debian's Chromium, on the sample that comes with the package: pictures, keys, corrections, what is
 * refused, and whether people who use keyboards, phones or other eyes can use it.
 *
 * GLIOMASK names the command. GLIOMASK_SCREENSHOTS names a folder for the pictures of the documentation, which are made here.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import AxeBuilder from '@axe-core/playwright'
import { chromium, expect, type Page, test } from '@playwright/test'

import { readNifti } from '../src/pipeline/nifti'

const GLIOMASK = process.env['GLIOMASK'] ?? 'gliomask'
const PICTURES = process.env['GLIOMASK_SCREENSHOTS']
const SAMPLE = join(import.meta.dirname, '../../src/gliomask/sample/synthetic_0001')
const REFERENCE = join(SAMPLE, 'synthetic_0001_seg.nii.gz')
const DESK = { width: 1440, height: 900 }
const PHONE = { width: 390, height: 844 }
const READY = 120_000

let scratch = ''
let page = ''

test.beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'gliomask-view-'))
  page = join(scratch, 'sample.html')
  execFileSync(GLIOMASK, ['view', SAMPLE, REFERENCE, '--labels', 'brats2021', '--html', page])
})

test.afterAll(() => rmSync(scratch, { recursive: true, force: true }))

async function opened(window: Page, url = pathToFileURL(page).href): Promise<string[]> {
  const complaints: string[] = []
  window.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  window.on('pageerror', (error) => complaints.push(error.message))
  await window.goto(url)
  await window.waitForSelector('body[data-ready]', { state: 'attached', timeout: READY })
  return complaints
}

async function picture(window: Page, name: string): Promise<void> {
  const folder = PICTURES ?? join(scratch, 'pictures')
  mkdirSync(folder, { recursive: true })
  await window.screenshot({ path: join(folder, `${name}.png`), timeout: 120_000 })
}

const menu = (window: Page, name: string) => window.locator(`[data-menu=${name}] select`)

/** The share of pixels of a canvas that are nearer to a colour than to grey. */
function coloured(window: Page): Promise<number> {
  return window.locator('canvas').first().evaluate(async (canvas: HTMLCanvasElement) => {
    const sheet = document.createElement('canvas')
    sheet.width = canvas.width
    sheet.height = canvas.height
    const brush = sheet.getContext('2d') as CanvasRenderingContext2D
    brush.drawImage(canvas, 0, 0)
    const { data } = brush.getImageData(0, 0, sheet.width, sheet.height)
    let [bright, tinted] = [0, 0]
    for (let n = 0; n < data.length; n += 4) {
      const [red = 0, green = 0, blue = 0] = [data[n], data[n + 1], data[n + 2]]
      if (red + green + blue > 30) bright++
      if (Math.max(red, green, blue) - Math.min(red, green, blue) > 40) tinted++
    }
    return bright ? tinted / bright : -1
  })
}

test('opens from disk, shows four linked sequences, and asks for nothing', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  const asked: string[] = []
  window.on('request', (request) => asked.push(request.url()))
  const complaints = await opened(window)
  await expect(window.locator('canvas')).toHaveCount(4)
  await expect(window.locator('table.volumes')).toContainText('oedema')
  await expect(window.locator('.facts')).toContainText('WT: 1.000')
  await picture(window, 'viewer')
  expect(asked.filter((url) => !/^(file|blob|data):/.test(url))).toEqual([])
  expect(complaints).toEqual([])
})

test('keys move slices, choose planes and switch labels', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  await opened(window)
  const canvas = window.locator('canvas').first()
  await canvas.focus()
  const before = await window.locator('.place').textContent()
  await window.keyboard.press('ArrowUp')
  await expect(window.locator('.place')).not.toHaveText(before ?? '')
  await window.keyboard.press('ArrowDown')
  await expect(window.locator('.place')).toHaveText(before ?? '')
  await window.keyboard.press('2')
  await expect(window.getByLabel('Oedema', { exact: true })).not.toBeChecked()
  await window.keyboard.press('c')
  await expect(menu(window, 'layout')).toHaveValue('coronal')
})

test('three planes, 3-D, agreement and both palettes', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  const complaints = await opened(window)
  await menu(window, 'sequence').selectOption('t1ce')
  await menu(window, 'layout').selectOption('planes')
  await menu(window, 'overlay').selectOption('agreement WT')
  await expect(window.locator('.legend')).toContainText('missed')
  await window.waitForTimeout(2000)
  await picture(window, 'planes')
  await menu(window, 'overlay').selectOption('segmentation')
  await window.getByLabel('Colours').selectOption('paper')
  await expect(window.locator('.labels .swatch').first()).toHaveCSS('background-color', 'rgb(228, 26, 28)')
  expect(complaints).toEqual([])
})

test('fits a phone', async ({ page: window }) => {
  await window.setViewportSize(PHONE)
  await opened(window)
  await expect(window.locator('canvas:visible')).toHaveCount(1)
  const width = await window.evaluate(() => document.documentElement.scrollWidth)
  expect(width).toBeLessThanOrEqual(PHONE.width)
  await picture(window, 'phone')
})

for (const [name, size] of [['desk', DESK], ['phone', PHONE]] as const) {
  test(`has no serious barriers: ${name}`, async ({ page: window }) => {
    await window.setViewportSize(size)
    await opened(window)
    const { violations } = await new AxeBuilder({ page: window }).analyze()
    const serious = violations.filter((one) => one.impact === 'serious' || one.impact === 'critical')
    expect(serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' ')}`)).toEqual([])
  })
}

test('without graphics the reason is said, and what is known is there', async () => {
  const browser = await chromium.launch({
    executablePath: process.env['GLIOMASK_CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-3d-apis'],
  })
  const window = await browser.newPage()
  await opened(window)
  await expect(window.getByRole('alert')).toContainText('This browser cannot draw the scans: it has no WebGL 2.')
  await expect(window.locator('table.volumes')).toContainText('oedema')
  await browser.close()
})

test('a painted correction is kept where it was painted, and undone where it was not wanted', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  const folder = join(scratch, 'corrections')
  const server = await serving(['view', SAMPLE, REFERENCE, '--labels', 'brats2021', '--no-browser', '--corrections', folder])
  const complaints = await opened(window, server.url)
  await menu(window, 'sequence').selectOption('t1ce')
  await expect(window.locator('canvas:visible')).toHaveCount(1)
  await menu(window, 'tool').selectOption('paint')
  await window.getByLabel('Label', { exact: true }).selectOption('1')
  await window.getByLabel('Radius, mm').fill('0')
  const box = (await window.locator('canvas:visible').boundingBox()) as { x: number; y: number; width: number; height: number }
  // Off the middle in both directions, so that no mirrored place is the same.
  await window.mouse.click(box.x + 0.42 * box.width, box.y + 0.37 * box.height)
  const place = (await window.locator('.place').textContent()) ?? ''
  expect(place).toContain('Necrotic')
  await window.getByRole('button', { name: 'Undo' }).click()
  await expect(window.getByRole('button', { name: 'Undo' })).toBeDisabled()
  await window.getByRole('button', { name: 'Save the correction' }).click()
  await expect(window.locator('.message')).toHaveText('Nothing has been changed, so there is no correction to save.')
  await window.getByRole('button', { name: 'Redo' }).click()
  await window.getByLabel('Your name or initials').fill('A. B.')
  await window.getByRole('button', { name: 'Save the correction' }).click()
  await expect(window.locator('.message')).toContainText('Saved:')
  await picture(window, 'correct')
  server.process.kill('SIGINT')
  expect(complaints).toEqual([])

  const about = JSON.parse(readFileSync(join(folder, 'synthetic_0001/synthetic_0001_correction.json'), 'utf8'))
  expect(about.who).toBe('A. B.')
  expect(about.changed).toHaveLength(1)
  expect(about.changed[0]).toMatchObject({ to: 'necrotic', voxels: 1 })
  const [before, after] = await Promise.all([REFERENCE, join(folder, 'synthetic_0001/synthetic_0001_seg.nii.gz')].map((path) => readNifti(path, new Blob([readFileSync(path)]))))
  const changed = [...(after?.values ?? [])].flatMap((value, index) => (value !== before?.values[index] ? [index] : []))
  expect(changed).toHaveLength(1)
  const { shape, affine } = (after as NonNullable<typeof after>).grid
  const index = changed[0] as number
  const voxel = [index % shape[0], Math.floor(index / shape[0]) % shape[1], Math.floor(index / (shape[0] * shape[1]))]
  const saved = affine.map((row) => row[0] * (voxel[0] ?? 0) + row[1] * (voxel[1] ?? 0) + row[2] * (voxel[2] ?? 0) + row[3])
  // The page tells the pointer's place, which lies within the voxel.
  const told = place.split(' mm')[0]?.split(', ').map(Number) ?? []
  saved.forEach((mm, axis) => expect(Math.abs(mm - (told[axis] as number))).toBeLessThanOrEqual(0.61))
})

test('labels colour the picture, and only while the overlay is on', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  await opened(window)
  await window.locator('canvas').first().focus()
  await window.keyboard.press('a')
  expect(await coloured(window)).toBeGreaterThan(0)
  await window.keyboard.press('o')
  await window.keyboard.press('a')
  expect(await coloured(window)).toBe(0)
})

function serving(given: string[]): Promise<{ readonly url: string; readonly process: ChildProcess }> {
  const process = spawn(GLIOMASK, given, { stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    let said = ''
    process.stdout?.on('data', (data: Buffer) => {
      said += data.toString()
      const url = /http:\/\/127\.0\.0\.1:\d+\/[\w-]+\//.exec(said)?.[0]
      if (url) resolve({ url, process })
    })
    process.on('exit', () => reject(new Error(`gliomask ended: ${said}`)))
  })
}
