/**
 * The page of `gliomask view` in Debian's Chromium, on the sample that comes with the package: pictures, keys, corrections, what is
 * refused, and whether people who use keyboards, phones or other eyes can use it.
 *
 * GLIOMASK names the command. GLIOMASK_SCREENSHOTS names a folder for the pictures of the documentation, which are made here.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { chromium, expect, type Page, test } from '@playwright/test'

import { readNifti } from '../src/pipeline/nifti'
import { complaintsOf, DESK, expectNoBarriers, expectNoOverflow, GLIOMASK, PHONE, picture, SAMPLE, TABLET } from './chromium'

const READY = 120_000

let scratch = ''
let result = ''
let page = ''
let serving: ChildProcess | null = null

test.beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'gliomask-view-'))
  const results = join(scratch, 'results')
  execFileSync(GLIOMASK, ['segment', SAMPLE, '-o', results], { stdio: 'pipe' })
  const found = readdirSync(results, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('_seg.nii.gz'))
  result = join(results, found ?? 'no label map')
  page = join(scratch, 'sample.html')
  execFileSync(GLIOMASK, ['view', SAMPLE, result, '--html', page])
})

test.afterAll(() => {
  serving?.kill('SIGINT')
  rmSync(scratch, { recursive: true, force: true })
})

async function opened(window: Page, url = pathToFileURL(page).href): Promise<string[]> {
  const complaints = complaintsOf(window)
  await window.goto(url)
  await window.waitForSelector('body[data-ready]', { state: 'attached', timeout: READY })
  return complaints
}

const menu = (window: Page, name: string) => window.locator(`[data-menu=${name}] select`)

/**
 * The share of pixels of the first picture that are nearer to a colour than to grey.
 *
 * The key draws it axially at once, and the drawing is on the canvas until the browser composes the page again.
 */
function coloured(window: Page): Promise<number> {
  return window.locator('canvas').first().evaluate((canvas: HTMLCanvasElement) => {
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }))
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

test('opens from disk: four linked sequences, keys, planes, overlays, and no request', async ({ page: window }) => {
  await window.setViewportSize(DESK)
  const asked: string[] = []
  window.on('request', (request) => asked.push(request.url()))
  const complaints = await opened(window)
  await expect(window.locator('canvas:visible')).toHaveCount(4)
  await expect(window.locator('table.volumes')).toContainText('oedema')
  await expect(window.locator('.facts')).toContainText(/WT: 0\.\d{3}/)
  await expectNoBarriers(window)
  await expectNoOverflow(window)
  await picture(window, 'view')

  const place = window.locator('.place')
  const before = (await place.textContent()) ?? ''
  await window.locator('canvas').first().focus()
  await window.keyboard.press('ArrowUp')
  await expect(place).not.toHaveText(before)
  await window.keyboard.press('ArrowDown')
  await expect(place).toHaveText(before)
  await window.keyboard.press('2')
  await expect(window.getByLabel('Oedema', { exact: true })).not.toBeChecked()
  await window.keyboard.press('2')

  await menu(window, 'sequence').selectOption('flair')
  await expect(window.locator('canvas:visible')).toHaveCount(1)
  await window.locator('canvas').first().focus()
  await window.keyboard.press('c')
  await expect(menu(window, 'layout')).toHaveValue('coronal')
  expect(await coloured(window)).toBeGreaterThan(0)
  await window.keyboard.press('o')
  expect(await coloured(window)).toBe(0)
  await window.keyboard.press('o')

  await menu(window, 'layout').selectOption('planes')
  await menu(window, 'overlay').selectOption('agreement WT')
  await expect(window.locator('.legend')).toContainText('missed')
  await menu(window, 'overlay').selectOption('segmentation')
  await window.getByLabel('Colours').selectOption('paper')
  await expect(window.locator('.labels .swatch').first()).toHaveCSS('background-color', 'rgb(228, 26, 28)')
  expect(asked.filter((url) => !/^(file|blob|data):/.test(url))).toEqual([])
  expect(complaints).toEqual([])
})

test('fits a phone, without serious barriers', async ({ page: window }) => {
  await window.setViewportSize(PHONE)
  const complaints = await opened(window)
  await expect(window.locator('canvas:visible')).toHaveCount(1)
  await expectNoOverflow(window)
  await expectNoBarriers(window)
  await picture(window, 'view-phone')
  expect(complaints).toEqual([])
})

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
  await window.setViewportSize(TABLET)
  const folder = join(scratch, 'corrections')
  const complaints = await opened(window, await served(['view', SAMPLE, result, '--no-browser', '--corrections', folder]))
  await expect(window.locator('canvas:visible')).toHaveCount(1)
  const undo = window.getByRole('button', { name: 'Undo' })
  const save = window.getByRole('button', { name: 'Save the correction' })
  await menu(window, 'tool').selectOption('paint')
  await menu(window, 'label').selectOption('1')
  await window.getByLabel('Radius, mm').fill('0')
  // Off the middle in both directions, so that no mirrored place is the same.
  const glass = window.locator('.glass:visible')
  const box = (await glass.boundingBox()) as { x: number; y: number; width: number; height: number }
  await glass.click({ position: { x: 0.42 * box.width, y: 0.37 * box.height } })
  await expect(window.locator('.place')).toContainText('Necrotic')
  const place = (await window.locator('.place').textContent()) ?? ''
  await undo.click()
  await expect(undo).toBeDisabled()
  await save.click()
  await expect(window.locator('.message')).toHaveText('Nothing has been changed, so there is no correction to save.')
  await window.getByRole('button', { name: 'Redo' }).click()
  await window.getByLabel('Your name or initials').fill('A. B.')
  await save.click()
  await expect(window.locator('.message')).toContainText('Saved:')
  expect(complaints).toEqual([])

  const about = JSON.parse(readFileSync(join(folder, 'synthetic_0001/synthetic_0001_correction.json'), 'utf8'))
  expect(about.who).toBe('A. B.')
  expect(about.changed).toHaveLength(1)
  expect(about.changed[0]).toMatchObject({ to: 'necrotic', voxels: 1 })
  const [before, after] = await Promise.all([result, join(folder, 'synthetic_0001/synthetic_0001_seg.nii.gz')].map((path) => readNifti(path, new Blob([readFileSync(path)]))))
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

/** Starts the command; returns the address that it prints. */
function served(given: string[]): Promise<string> {
  const started = spawn(GLIOMASK, given, { stdio: ['ignore', 'pipe', 'inherit'] })
  serving = started
  return new Promise((resolve, reject) => {
    let said = ''
    started.stdout.on('data', (data: Buffer) => {
      said += data.toString()
      const url = /http:\/\/127\.0\.0\.1:\d+\/[\w-]+\//.exec(said)?.[0]
      if (url) resolve(url)
    })
    started.on('exit', () => reject(new Error(`gliomask ended: ${said}`)))
  })
}
