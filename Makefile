# SPDX-License-Identifier: MIT
#
# make demo    embeds, clusters and draws the example genomes
# make check   runs every test that needs no GPU
# make help    says what else there is

-include config.mk

PREFIX  ?= /usr/local
CUDA    ?= auto
MPI     ?= auto
DEPS    ?= yes
CC      ?= cc
CFLAGS  ?= -O3 -g
PKG_CONFIG ?= pkg-config
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)

# As many jobs as processors, unless the command line says how many.
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(JOBS)
endif

comma := ,
BUILD := build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))

WARN  := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Wno-psabi $(if $(WERROR),-Werror)
# No contraction: a product and a sum round twice on every machine.
BASE  := -std=c11 -D_POSIX_C_SOURCE=200809L -I. -ffp-contract=off -pthread $(WARN)
SAN   := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)

# Asked when a recipe runs, not before: `make deps` may have to install them.
LIBRARIES   := htslib libzstd libxxhash jansson
LIBS_CFLAGS  = $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null)
LIBS         = $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null || \
                 echo -lhts -lzstd -lxxhash -ljansson) -llbfgs -ldnnl -l:libgomp.so.1 \
               $(MPI_LIBS) -lm

# MPI is for dnas-train on several processes; without it the same tools are built.
MPI_HAVE := $(if $(filter no,$(MPI)),,$(shell $(PKG_CONFIG) --exists ompi-c 2>/dev/null && echo yes))
ifeq ($(MPI)$(MPI_HAVE),yes)
$(error MPI=yes, but pkg-config finds no ompi-c: install libopenmpi-dev or use MPI=auto)
endif
ifneq ($(MPI_HAVE),)
MPI_CFLAGS := -DDNAS_MPI $(shell $(PKG_CONFIG) --cflags ompi-c)
MPI_LIBS   := $(shell $(PKG_CONFIG) --libs ompi-c)
endif

# The GPU side is a shared object of its own, loaded when a GPU is asked for.  The same sources
# are compiled for an emulator on the CPU, for tests.
NVCC      := $(shell command -v nvcc 2>/dev/null)
CUDA_HOME := $(if $(NVCC),$(realpath $(dir $(realpath $(NVCC)))..))
CUDA_HAVE := $(if $(filter no,$(CUDA)),,$(if $(wildcard $(CUDA_HOME)/include/cublasLt.h),$(NVCC)))
ifeq ($(CUDA)$(CUDA_HAVE),yes)
$(error CUDA=yes, but nvcc with cuBLASLt is not on the PATH: install the CUDA toolkit or use CUDA=auto)
endif
CUDA_SRC  := $(sort $(wildcard kernels/cuda/*.cu))
CUDA_OBJ  := $(CUDA_SRC:%.cu=$(BUILD)/cuda/%.o)
CUDA_ARCH ?= 80 90
CUDA_LAST := $(lastword $(CUDA_ARCH))
CUDA_LIB  := $(if $(CUDA_HAVE),$(if $(SANITIZE),,$(BUILD)/lib/libdnas-cuda.so))
EMULATED_OBJ := $(CUDA_SRC:%.cu=$(BUILD)/emulated/%.o) \
                $(patsubst %.cpp,$(BUILD)/emulated/%.o,$(sort $(wildcard kernels/cuda/emulator/*.cpp)))
# Its lanes are fibers, which the thread sanitizer does not know.  CXX= leaves it out.
EMULATED_LIB := $(if $(findstring thread,$(SANITIZE)),,$(if $(CXX),$(BUILD)/libdnas-cuda-emulated.so))

# Stands in for NCCL in tests.
NCCL_LIB := $(EMULATED_LIB:%/libdnas-cuda-emulated.so=%/libnccl-emulated.so)

CXX_FLAGS  = -std=c++17 -I. -Ikernels/cuda/emulator -fPIC -fvisibility=hidden -ffp-contract=off \
             $(filter-out -Wmissing-prototypes,$(WARN)) -Wno-unknown-pragmas -Wno-unused-function -Wno-pass-failed
NVCC_FLAGS = -std=c++17 -O3 -lineinfo -I. -cudart static -Xptxas -v,-warn-spills \
             -Xcompiler -fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-Wall,-Wextra \
             $(if $(WERROR),-Werror all-warnings)
NVCC_ARCH  = $(foreach a,$(CUDA_ARCH),-gencode=arch=compute_$(a)$(comma)code=sm_$(a)) \
             -gencode=arch=compute_$(CUDA_LAST)$(comma)code=compute_$(CUDA_LAST)
# Kernels that only GPUs of compute capability 9.0 can run.
NVCC_SM90  = -gencode=arch=compute_90a,code=sm_90a

# Kernels on vectors are compiled for three instruction sets; one is chosen at run time.
VECTOR_SRC := $(shell grep -l 'include "kernels/cpu/simd.h"' kernels/cpu/*.c)
VECTOR_ISA := $(if $(filter x86_64 amd64,$(shell uname -m)),avx2 avx512)
FLAGS_avx2   := -DDNAS_ISA=1 -mavx2 -mfma -mbmi2 -ffp-contract=fast
FLAGS_avx512 := -DDNAS_ISA=2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mbmi2 \
                -mprefer-vector-width=512 -ffp-contract=fast

LIB_SRC   := $(sort $(wildcard common/*.c kernels/*.c kernels/cpu/*.c))
TOOL_SRC  := $(sort $(wildcard tools/dnas-*.c))
TEST_SRC  := $(sort $(wildcard tests/unit/test_*.c tests/kernels/test_*.c tests/model/test_*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/bench_*.c))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
TOOLS     := $(TOOL_SRC:tools/%.c=$(BUILD)/bin/%)
TESTS     := $(TEST_SRC:%.c=$(BUILD)/%)
BENCHES   := $(BENCH_SRC:%.c=$(BUILD)/%)
FUZZERS   := $(FUZZ_SRC:%.c=$(BUILD)/%)
LIB_OBJ   := $(LIB_SRC:%.c=$(BUILD)/%.o) \
             $(foreach i,$(VECTOR_ISA),$(VECTOR_SRC:%.c=$(BUILD)/%.$(i).o))
OBJ       := $(LIB_OBJ) $(patsubst %.c,$(BUILD)/%.o,$(TOOL_SRC) $(TEST_SRC) $(BENCH_SRC) $(FUZZ_SRC) \
                                     tests/fuzz/replay.c tests/fuzz/mutator.c)
MAN       := $(sort $(wildcard man/*.[157]))

.PHONY: all deps check check-gpu limits valgrind demo demo-train bench bench-gpu fuzz fuzzers mutants bundle install uninstall clean config help lint
.DELETE_ON_ERROR:
.SECONDARY:

all: $(TOOLS) $(CUDA_LIB)

help:
	@echo 'make             the tools, in build/bin'
	@echo 'make demo        embed, cluster, score and draw the example genomes'
	@echo 'make demo-train  train a small network on them for a minute'
	@echo 'make check       every test that needs no GPU'
	@echo 'make check-gpu   the tests that need one'
	@echo 'make limits      what is too long for make check: large inputs, a hundred kills'
	@echo 'make valgrind    the unit tests under valgrind'
	@echo 'make bench       timings beside the limits of this machine'
	@echo 'make bench-gpu   those of a GPU; BENCH_ARGS=--tiny tries it in the emulator'
	@echo 'make fuzz        each reader fuzzed for SECONDS=60 with clang and libFuzzer'
	@echo 'make mutants     faults planted one by one: lists those that no test notices'
	@echo 'make lint        man pages, shell scripts and headers looked over'
	@echo 'make install     to PREFIX (/usr/local) under DESTDIR; make uninstall undoes it'
	@echo 'make bundle      a folder of the tools and their libraries, for other machines'
	@echo 'make config      what was found and how it will build'
	@echo 'Settings, here or in config.mk: CUDA=auto|yes|no SANITIZE=address,undefined WERROR=1'
	@echo '  MPI=auto|yes|no DEPS=no (install nothing) CC= CFLAGS= PREFIX= DESTDIR= V=1 JOBS='

config:
	@echo 'compiler   $(CC) $(CFLAGS)'
	@echo 'libraries  $(LIBS)'
	@echo 'cuda       CUDA=$(CUDA), nvcc: $(or $(CUDA_HAVE),not used), sm: $(CUDA_ARCH)'
	@echo 'mpi        MPI=$(MPI), ompi-c: $(or $(MPI_HAVE),not used)'
	@echo 'install    $(DESTDIR)$(PREFIX)'

# ---- dependencies ----

deps $(BUILD)/deps.ok:
	@mkdir -p $(BUILD)
	@CC='$(CC)' CXX= DEPS='$(DEPS)' sh deps.sh
	@touch $(BUILD)/deps.ok
# What tests alone need; after the other, since apt runs once at a time.
$(BUILD)/deps-tests.ok: | $(BUILD)/deps.ok
	@CC='$(CC)' CXX='$(CXX)' DEPS='$(DEPS)' sh deps.sh
	@touch $@

# ---- build ----

ifeq ($(V),)
say = @echo '  $(1) $@';
endif

# Rebuilds what was built with other flags.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(BASE) $(SAN) $(CFLAGS) $(LDFLAGS) $(MPI_LIBS)' | cmp -s - $@ || \
		echo '$(CC) $(BASE) $(SAN) $(CFLAGS) $(LDFLAGS) $(MPI_LIBS)' > $@
$(BUILD)/flags-cuda: FORCE
	@mkdir -p $(BUILD)
	@echo '$(NVCC) $(NVCC_FLAGS) $(NVCC_ARCH) $(CXX) $(CXX_FLAGS) $(SAN) $(CFLAGS)' | cmp -s - $@ || \
		echo '$(NVCC) $(NVCC_FLAGS) $(NVCC_ARCH) $(CXX) $(CXX_FLAGS) $(SAN) $(CFLAGS)' > $@
.PHONY: FORCE

$(BUILD)/%.o: %.c $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $(@D)
	$(call say,CC )$(CC) $(BASE) $(LIBS_CFLAGS) $(SAN) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/common/comm.o $(BUILD)/common/comm_mpi.o: LIBS_CFLAGS += $(MPI_CFLAGS)

define vector_rule
$(BUILD)/%.$(1).o: %.c $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $$(@D)
	$(call say,CC )$(CC) $(BASE) $$(LIBS_CFLAGS) $(SAN) $(CFLAGS) $(FLAGS_$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach i,$(VECTOR_ISA),$(eval $(call vector_rule,$(i))))

# Taken in by the assembler, which -MMD does not see.
$(BUILD)/common/default_model.o: common/models/kmer.safetensors

$(BUILD)/libdnas.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR )$(AR) rcs $@ $^

LINK = $(CC) $(SAN) $(CFLAGS) -pthread -Wl,--as-needed $(LDFLAGS) -o $@ $< $(BUILD)/libdnas.a $(LIBS)

$(BUILD)/bin/%: $(BUILD)/tools/%.o $(BUILD)/libdnas.a
	@mkdir -p $(@D)
	$(call say,LD )$(LINK)

$(TESTS) $(BENCHES): %: %.o $(BUILD)/libdnas.a
	$(call say,LD )$(LINK)

# A fuzz program is a test of its samples, or one for libFuzzer (FUZZ_MAIN=mutator).
FUZZ_MAIN := replay
$(FUZZERS): %: %.o $(BUILD)/tests/fuzz/$(FUZZ_MAIN).o $(BUILD)/libdnas.a
	$(call say,LD )$(LINK) $(BUILD)/tests/fuzz/$(FUZZ_MAIN).o $(BUILD)/libdnas.a $(LIBS) \
		$(if $(filter mutator,$(FUZZ_MAIN)),-fsanitize=fuzzer)

# What ptxas says of each kernel (registers, spills) is kept for a test.
$(BUILD)/cuda/%.o: %.cu $(BUILD)/flags-cuda
	@mkdir -p $(@D)
	$(call say,NVCC)$(NVCC) $(NVCC_FLAGS) $(if $(filter %_sm90.cu,$<),$(NVCC_SM90),$(NVCC_ARCH)) -MMD -MP -c -o $@ $< >$(@:.o=.log) 2>&1 || \
		{ cat $(@:.o=.log) >&2; exit 1; }
	@grep -i warning $(@:.o=.log) >&2 || true

# With no library but libc and cuBLASLt, which is searched for where it was found here, too.
$(BUILD)/lib/libdnas-cuda.so: $(CUDA_OBJ)
	@mkdir -p $(@D)
	$(call say,LD )$(lastword $(CC)) -shared -static-libgcc -Wl,--as-needed -Wl,--exclude-libs,ALL \
		-Wl,-z,defs -Wl,-rpath,$(CUDA_HOME)/lib64 -o $@ $^ -L$(CUDA_HOME)/lib64 -lcudart_static \
		-lcublasLt -lpthread -ldl -lrt -lm

# Calls before each access of a kernel, which the emulator answers (accesses.h).
$(BUILD)/emulated/%.o: %.cu $(BUILD)/flags-cuda | $(BUILD)/deps-tests.ok
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -x c++ $(CXX_FLAGS) $(or $(SAN),-fsanitize=thread) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/emulated/%.o: %.cpp $(BUILD)/flags-cuda | $(BUILD)/deps-tests.ok
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(CXX_FLAGS) $(SAN) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/libdnas-cuda-emulated.so: $(EMULATED_OBJ)
	$(call say,LD )$(CXX) $(SAN) $(CFLAGS) -shared -o $@ $^ -lm
$(BUILD)/libnccl-emulated.so: $(BUILD)/emulated/kernels/cuda/emulator/nccl/nccl.o $(BUILD)/libdnas-cuda-emulated.so
	$(call say,LD )$(CXX) $(SAN) $(CFLAGS) -shared -Wl,-z,defs -Wl,-rpath,'$$ORIGIN' -o $@ $< \
		-L$(BUILD) -l:libdnas-cuda-emulated.so

# A test of kernels' own instructions is both: a program of the emulator, and one for a GPU.
CU_TESTS := $(patsubst %.cu,$(BUILD)/%,$(if $(EMULATED_LIB),$(sort $(wildcard tests/kernels/test_*.cu))))
CU_TESTS_GPU := $(if $(CUDA_LIB),$(CU_TESTS:$(BUILD)/tests/%=$(BUILD)/cuda/tests/%))
$(CU_TESTS): $(BUILD)/%: $(BUILD)/emulated/%.o $(filter $(BUILD)/emulated/kernels/cuda/emulator/%,$(EMULATED_OBJ))
	@mkdir -p $(@D)
	$(call say,LD )$(CXX) $(SAN) $(CFLAGS) -o $@ $^ -lm
$(CU_TESTS_GPU): %: %.o
	$(call say,LD )$(CXX) $(CFLAGS) -o $@ $< -L$(CUDA_HOME)/lib64 -lcudart_static -lpthread -ldl -lrt

# Their tests load it.
$(filter $(BUILD)/tests/kernels/test_cuda%,$(TESTS)): | $(EMULATED_LIB) $(NCCL_LIB)

-include $(OBJ:.o=.d) $(EMULATED_OBJ:.o=.d) $(CUDA_OBJ:.o=.d) $(BUILD)/emulated/kernels/cuda/emulator/nccl/nccl.d \
         $(CU_TESTS:$(BUILD)/%=$(BUILD)/emulated/%.d) $(CU_TESTS_GPU:=.d)

# ---- tests ----

check: $(TOOLS) $(TESTS) $(CU_TESTS) $(FUZZERS) $(BUILD)/tests/faults/faults.so $(EMULATED_LIB) $(NCCL_LIB) $(CUDA_LIB)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' JOBS=$(JOBS) bash tests/run.sh $(TEST_ARGS)

check-gpu: $(TOOLS) $(TESTS) $(CU_TESTS_GPU) $(BUILD)/tests/bench/bench_gpu $(EMULATED_LIB) $(NCCL_LIB) $(CUDA_LIB)
	@DNAS_REQUIRE=cuda BUILD=$(abspath $(BUILD)) JOBS=1 bash tests/run.sh gpu

limits: $(TOOLS)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' JOBS=1 bash tests/run.sh limits

# The unit tests under valgrind, apart from those that would take hours.
valgrind: $(TESTS)
	@BUILD=$(abspath $(BUILD)) JOBS=$(JOBS) bash tests/valgrind.sh $(TEST_ARGS)

bench: $(TOOLS) $(BENCHES)
	@BUILD=$(abspath $(BUILD)) bash tests/bench/run.sh

bench-gpu: $(TOOLS) $(BUILD)/tests/bench/bench_gpu $(BUILD)/tests/bench/bench_train $(EMULATED_LIB) $(CUDA_LIB)
	@BUILD=$(abspath $(BUILD)) bash tests/bench/gpu.sh $(BENCH_ARGS)

# libFuzzer comes with clang (Debian: clang, libclang-rt-dev).
FUZZ_BUILD := $(BUILD)-fuzz
FUZZ_CC   ?= clang
SECONDS   ?= 60
fuzz:
	@$(MAKE) BUILD='$(FUZZ_BUILD)' CC='$(FUZZ_CC)' CFLAGS='-O1 -g' FUZZ_MAIN=mutator \
		SANITIZE=fuzzer-no-link,address,undefined fuzzers
	@BUILD='$(abspath $(FUZZ_BUILD))' FUZZ_SECONDS='$(SECONDS)' bash tests/fuzz/run.sh $(FUZZ_ARGS)

fuzzers: $(FUZZERS)

# For LD_PRELOAD, so without the flags of sanitizers; of glibc alone, and its test is skipped
# where it cannot be built.
FAULTS_LIB := $(BUILD)/tests/faults/faults.so
$(FAULTS_LIB): tests/faults/faults.c
	@mkdir -p $(@D)
	$(call say,LD )$(CC) $(BASE) -O1 -g -fPIC -shared -o $@ $< -ldl || echo '  no library of faults'

mutants:
	@JOBS=$(JOBS) bash tests/mutants.sh $(MUTANTS)

demo: $(TOOLS)
	@BUILD=$(abspath $(BUILD)) bash examples/demo.sh

demo-train: $(TOOLS)
	@BUILD=$(abspath $(BUILD)) bash examples/demo-train.sh

lint:
	@CC='$(CC)' CPPFLAGS='$(BASE) $(LIBS_CFLAGS)' bash tests/lint.sh

# ---- install ----

# The tools have the default model inside; the file is for other programs.
MODELS      := common/models/kmer.safetensors
COMPLETIONS := $(PREFIX)/share/bash-completion/completions

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(COMPLETIONS)
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin
	for l in $(CUDA_LIB); do install -D -m 644 $$l $(DESTDIR)$(PREFIX)/lib/$${l##*/} || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/share/dnas
	install -m 644 $(MODELS) $(DESTDIR)$(PREFIX)/share/dnas
	for m in $(MAN); do d=$(DESTDIR)$(PREFIX)/share/man/man$${m##*.}; \
		install -d $$d && install -m 644 $$m $$d || exit 1; done
	for t in $(notdir $(TOOLS)); do \
		install -m 644 man/completion/dnas.bash $(DESTDIR)$(COMPLETIONS)/$$t || exit 1; done

# A folder with the libraries beside the tools, found by their place alone.
BUNDLE := $(BUILD)-bundle/dnas
bundle:
	@mkdir -p $(BUILD)-bundle
	@echo '-Wl,--disable-new-dtags,-rpath,$$ORIGIN/../lib' > $(BUILD)-bundle/link
	@$(MAKE) BUILD='$(BUILD)-bundle' MPI=no LDFLAGS='$(LDFLAGS) @$(BUILD)-bundle/link' all
	@sh bundle.sh $(BUILD)-bundle $(BUNDLE)

uninstall:
	for t in $(notdir $(TOOLS)); do \
		rm -f $(DESTDIR)$(PREFIX)/bin/$$t $(DESTDIR)$(COMPLETIONS)/$$t; done
	rm -f $(DESTDIR)$(PREFIX)/lib/libdnas-cuda.so
	for m in $(notdir $(MAN)); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$$m; done

clean:
	rm -rf build build-* demo
