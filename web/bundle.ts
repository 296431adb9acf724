/** What is bundled, and its licences, which go with it: BSD, MIT and the like ask for their text and the holder's name. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'

import type { Plugin, Rollup } from 'vite'

const DCM2NIIX = `Copyright (c) 2014-2021 Chris Rorden. All rights reserved.

It is compiled with CharLS (the same licence), OpenJPEG (the same licence without its third clause) and NanoJPEG (MIT):
Copyright (c) 2007, Jan de Vaan, Victor Derks
Copyright (c) 2002-2011, Communications and Remote Sensing Laboratory, Universite catholique de Louvain (UCL), Belgium
Copyright (c) 2002-2011, Professor Benoit Macq
Copyright (c) 2003-2011, Antonin Descampe
Copyright (c) 2003-2009, Francois-Olivier Devaux
Copyright (c) 2005, Herve Drolon, FreeImage Team
Copyright (c) 2002-2003, Yannick Verschueren
Copyright (c) 2001-2003, David Janssens
Copyright (c) 2009, Martin J. Fiedler`

/** Packages that come without their licence's text: the holder, and a package whose text it is with another name. */
const WITHOUT_TEXT: Readonly<Record<string, readonly [holder: string, like: string]>> = {
  'onnxruntime-web': ['Copyright (c) Microsoft Corporation', 'fflate/LICENSE'],
  '@niivue/dcm2niix': [DCM2NIIX, 'source-map-js/LICENSE'],
  '@niivue/niivue': ['Copyright (c) 2021, Niivue\nAll rights reserved.', 'esutils/LICENSE.BSD'],
}

const OWN = 'gliomask: Apache-2.0. Models have licences and attributions of their own, see their model.json.'

/** Replaces decoders that are never called. */
export const WITHOUT_CODECS = [{ find: /^numcodecs\/.*/, replacement: join(import.meta.dirname, 'no-codecs.ts') }]

/** Returns name, version and licence text of each package, in the order of names. */
export function licenceTexts(names: Iterable<string>): string {
  const texts = [...new Set(names)].sort().map((name) => {
    const folder = join('node_modules', name)
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string; license: string }
    return [`${name} ${version}: ${license}`, textOf(name, folder)].join('\n\n')
  })
  return [OWN, ...texts].join(`\n\n${'-'.repeat(80)}\n\n`)
}

function textOf(name: string, folder: string): string {
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one))
  if (file) return readFileSync(join(folder, file), 'utf8')
  const known = WITHOUT_TEXT[name]
  if (!known) throw new Error(`${name} comes without the text of its licence. Say in bundle.ts where it is.`)
  const lines = readFileSync(join('node_modules', known[1]), 'utf8').split('\n')
  return [known[0], ...lines.filter((line) => !line.startsWith('Copyright'))].join('\n')
}

/** Returns the packages whose code is in a bundle. */
function bundled(bundle: Rollup.OutputBundle): string[] {
  const modules = Object.values(bundle).flatMap((file) => (file.type === 'chunk' ? Object.keys(file.modules) : []))
  return modules.flatMap((path) => {
    const after = path.split(`node_modules${sep}`).pop() ?? ''
    const name = after.startsWith('@') ? after.split(sep).slice(0, 2).join('/') : (after.split(sep)[0] ?? '')
    return path.includes('node_modules') && existsSync(join('node_modules', name, 'package.json')) ? [name] : []
  })
}

/** Writes `licences.txt` for a page to link; workers' bundles are made apart, so what they use is named. */
export function licencesFile(further: readonly string[] = []): Plugin {
  return {
    name: 'licences-file',
    generateBundle(_, bundle) {
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: licenceTexts([...bundled(bundle), ...further]) })
    },
  }
}

/** Puts the licences at the head of each script, for a page that is one file. */
export function licencesAtHead(): Plugin {
  return {
    name: 'licences-at-head',
    enforce: 'post',
    generateBundle(_, bundle) {
      const texts = licenceTexts(bundled(bundle)).replaceAll('*/', '* /')
      for (const file of Object.values(bundle)) if (file.type === 'chunk') file.code = `/*!\n${texts}\n*/\n${file.code}`
    },
  }
}
