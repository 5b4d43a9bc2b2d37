/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "tar_maker.h"

/* A small add-on, 'demo' 1.0.0 for linux/amd64, whose entries a test changes before it is packed.
 */

#define BUNDLE_MAKER_ENTRIES_MAX 80U

static const char bundle_maker_manifest[] = "id: demo\n"
					    "name: Demo\n"
					    "version: 1.0.0\n"
					    "kind: native\n"
					    "delivery: pushed-artifact\n"
					    "supervision: systemd-service\n"
					    "capabilities: [demo]\n"
					    "requires:\n"
					    "  base_agent: '>=0.1.0'\n"
					    "  platforms: [linux]\n"
					    "exec:\n"
					    "  binary: demo\n"
					    "config_schema: config.schema.json\n";

static const char bundle_maker_schema[] = "{\"type\": \"object\"}\n";

static const char bundle_maker_unit[] = "[Unit]\n"
					"Description=Demo\n"
					"\n"
					"[Service]\n"
					"ExecStart=/opt/affix/demo/current/demo\n"
					"User=affix-demo\n"
					"\n"
					"[Install]\n"
					"WantedBy=multi-user.target\n";

struct bundle_maker {
	struct tar_maker_entry entries[BUNDLE_MAKER_ENTRIES_MAX];
	size_t n_entries;
	uint8_t binary[1000];
};

static inline void bundle_maker_elf(uint8_t *binary, unsigned machine)
{
	const Elf64_Ehdr head = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = (Elf64_Half)machine,
		.e_version = EV_CURRENT,
	};

	memcpy(binary, &head, sizeof(head));
}

static inline struct tar_maker_entry *bundle_maker_add(struct bundle_maker *maker, const char *name,
						       const void *data, size_t size)
{
	struct tar_maker_entry *entry = &maker->entries[maker->n_entries++];

	*entry = (struct tar_maker_entry){.name = name, .data = data, .data_size = size};
	return entry;
}

static inline void bundle_maker_init(struct bundle_maker *maker)
{
	*maker = (struct bundle_maker){};
	bundle_maker_elf(maker->binary, EM_X86_64);
	(void)bundle_maker_add(maker, "addon.yaml", bundle_maker_manifest,
			       sizeof(bundle_maker_manifest) - 1);
	(void)bundle_maker_add(maker, "affix-demo.service", bundle_maker_unit,
			       sizeof(bundle_maker_unit) - 1);
	(void)bundle_maker_add(maker, "config.schema.json", bundle_maker_schema,
			       sizeof(bundle_maker_schema) - 1);
	(void)bundle_maker_add(maker, "demo", maker->binary, sizeof(maker->binary));
}

static inline struct tar_maker_entry *bundle_maker_find(struct bundle_maker *maker,
							const char *name)
{
	for (size_t i = 0; i < maker->n_entries; i++) {
		if (strcmp(maker->entries[i].name, name) == 0)
			return &maker->entries[i];
	}
	abort();
}

static inline void bundle_maker_set_text(struct bundle_maker *maker, const char *name,
					 const char *text)
{
	struct tar_maker_entry *entry = bundle_maker_find(maker, name);

	entry->data = text;
	entry->data_size = strlen(text);
}

static inline void bundle_maker_remove(struct bundle_maker *maker, const char *name)
{
	struct tar_maker_entry *entry = bundle_maker_find(maker, name);
	const struct tar_maker_entry *last = &maker->entries[--maker->n_entries];

	/* One by one: gcc 12 makes memcpy() of a memmove() forwards, at which valgrind stops. */
	for (; entry < last; entry++) {
		struct tar_maker_entry next = entry[1];

		*entry = next;
	}
}

static inline int bundle_maker_tar(const struct bundle_maker *maker, struct buffer *tar)
{
	int r = 0;

	for (size_t i = 0; i < maker->n_entries && r == 0; i++)
		r = tar_maker_add(tar, &maker->entries[i]);
	return r == 0 ? tar_maker_end(tar) : r;
}

/* *tar*, compressed, as a file; the caller closes it. */
static inline int bundle_maker_compress(const struct buffer *tar)
{
	size_t bound = ZSTD_compressBound(tar->size);
	cleanup_free char *data = malloc(bound);
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t n = data ? ZSTD_compress(data, bound, tar->data, tar->size, 1) : 0;

	if (!data || fd < 0 || ZSTD_isError(n) || fd_write_full(fd, data, n) < 0)
		abort();
	return fd;
}

static inline int bundle_maker_file(const struct bundle_maker *maker)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;

	if (bundle_maker_tar(maker, &tar) < 0)
		abort();
	return bundle_maker_compress(&tar);
}
