/**
 * The page of a job of `gliomask serve` in Debian's Chromium: the viewer in it, and a correction that is saved from there.
 *
 * The server runs the worker of the Python tests, whose network is made by hand: what is looked at is the page.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, openAsBlob, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'

import { complaintsOf, expectNoBarriers, expectNoOverflow, TABLET } from './chromium'

const PYTHON = process.env['GLIOMASK_PYTHON'] ?? 'python3'
const TESTS = join(import.meta.dirname, '../../tests')
/** A case of a few voxels: the page is looked at, not the network. */
const CASE = join(import.meta.dirname, '../vectors/pipeline')
const READY = 120_000

let scratch = ''
let serving: ChildProcess | null = null
let url = ''

test.beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gliomask-serve-'))
  const settings = { folder: join(scratch, 'data'), port: 0, workers: 1, threads: 2, limits: {}, worker_command: [PYTHON, join(TESTS, 'server_worker.py')] }
  const path = [TESTS, join(TESTS, '../src'), process.env['PYTHONPATH'] ?? ''].join(':')
  const started = spawn(PYTHON, [join(TESTS, 'server_process.py'), JSON.stringify(settings)], { env: { ...process.env, PYTHONPATH: path }, stdio: ['ignore', 'pipe', 'ignore'] })
  serving = started
  url = await new Promise((resolve, reject) => {
    started.stdout.on('data', (data: Buffer) => resolve(data.toString().trim()))
    started.on('exit', () => reject(new Error('the server ended')))
  })
})

test.afterAll(() => {
  serving?.kill('SIGTERM')
  rmSync(scratch, { recursive: true, force: true })
})

test('the page of a job shows the viewer, and a correction made there', async ({ page: window }) => {
  await window.setViewportSize(TABLET)
  const form = new FormData()
  for (const name of ['flair', 't1', 't1ce', 't2']) form.append(name, await openAsBlob(join(CASE, `tiny_${name}.nii.gz`)), `${name}.nii.gz`)
  const job = (await (await fetch(`${url}/api/v1/jobs`, { method: 'POST', body: form })).json()) as { id: string }
  const complaints = complaintsOf(window)
  const asked: string[] = []
  window.on('request', (request) => asked.push(request.url()))
  await window.goto(`${url}/jobs/${job.id}`)
  await expect(window.locator('#state')).toHaveText('done', { timeout: READY })
  const viewer = window.frameLocator('iframe')
  await expect(viewer.locator('body[data-ready]')).toBeAttached({ timeout: READY })
  await expect(viewer.locator('canvas:visible')).toHaveCount(1)
  await expectNoBarriers(window)
  await expectNoOverflow(window)

  await viewer.locator('[data-menu=tool] select').selectOption('paint')
  await viewer.getByLabel('Radius, mm').fill('4')
  await viewer.locator('.glass:visible').click({ position: { x: 120, y: 120 } })
  await viewer.getByLabel('Your name or initials').fill('A. <B>')
  await viewer.getByRole('button', { name: 'Save the correction' }).click()
  await expect(viewer.locator('.message')).toHaveText('Saved on the server as correction 1 of this job.', { timeout: READY })
  const list = window.locator('#corrections')
  await expect(list).toContainText('Correction 1 by A. <B>')
  await expect(list.getByRole('link', { name: /_seg\.nii\.gz$/ })).toHaveCount(1)
  await expect(list).toContainText('so there is no DICOM segmentation')
  expect(asked.filter((one) => !one.startsWith(url) && !/^(blob|data):/.test(one))).toEqual([])
  expect(complaints).toEqual([])
})
