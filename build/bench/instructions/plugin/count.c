/*
 * A plugin for QEMU's user mode that counts the guest's instructions by address.
 *
 * QEMU translates blocks of instructions that end at a branch. The plugin counts how
 * often each block runs, and at the end writes a line for each: its address in
 * hexadecimal, its number of instructions, and how often it ran. A block that was
 * translated twice has two lines.
 *
 * Debian packages no qemu-plugin.h. These declarations are those of version 1 of the
 * interface, which QEMU 4.2 to 8 offers and later versions refuse by name.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                                  void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *),
                                                 enum qemu_plugin_cb_flags, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;

struct block {
	struct block *next;
	uint64_t address, instructions, runs;
};

/* Blocks are only ever added, by the threads of the guest. */
static struct block *blocks;
static const char *output;

static void count(unsigned int cpu, void *data)
{
	(void)cpu;
	__atomic_fetch_add(&((struct block *)data)->runs, 1, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof *b);

	(void)id;
	if (!b)
		abort();
	b->address = qemu_plugin_tb_vaddr(tb);
	b->instructions = qemu_plugin_tb_n_insns(tb);
	b->next = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE);
	while (!__atomic_compare_exchange_n(&blocks, &b->next, b, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, count, QEMU_PLUGIN_CB_NO_REGS, b);
}

static void end(qemu_plugin_id_t id, void *data)
{
	FILE *f = fopen(output, "w");

	(void)id;
	(void)data;
	if (!f) {
		perror(output);
		return;
	}
	for (struct block *b = blocks; b; b = b->next)
		if (b->runs)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->address, b->instructions, b->runs);
	fclose(f);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "count: want out=FILE\n");
		return -1;
	}
	output = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, end, NULL);
	return 0;
}
